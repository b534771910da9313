//! DescribeAcls, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeAcls: DescribeAclsRequest => DescribeAclsResponse, versions 0..=3, flexible 2..;

    struct DescribeAclsRequest {
        resource_type_filter: i8, versions 0..;
        resource_name_filter: Option<Str> = Some(Default::default()), versions 0..;
        pattern_type_filter: i8 = 3, versions 1..;
        principal_filter: Option<Str> = Some(Default::default()), versions 0..;
        host_filter: Option<Str> = Some(Default::default()), versions 0..;
        operation: i8, versions 0..;
        permission_type: i8, versions 0..;
    }

    struct DescribeAclsResponse {
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        resources: Vec<DescribeAclsResource>, versions 0..;
    }

    struct DescribeAclsResource {
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        pattern_type: i8 = 3, versions 1..;
        acls: Vec<AclDescription>, versions 0..;
    }

    struct AclDescription {
        principal: Str, versions 0..;
        host: Str, versions 0..;
        operation: i8, versions 0..;
        permission_type: i8, versions 0..;
    }
}
