//! DeleteAcls, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DeleteAcls: DeleteAclsRequest => DeleteAclsResponse, versions 0..=3, flexible 2..;

    struct DeleteAclsRequest {
        filters: Vec<DeleteAclsFilter>, versions 0..;
    }

    struct DeleteAclsFilter {
        resource_type_filter: i8, versions 0..;
        resource_name_filter: Option<Str> = Some(Default::default()), versions 0..;
        pattern_type_filter: i8 = 3, versions 1..;
        principal_filter: Option<Str> = Some(Default::default()), versions 0..;
        host_filter: Option<Str> = Some(Default::default()), versions 0..;
        operation: i8, versions 0..;
        permission_type: i8, versions 0..;
    }

    struct DeleteAclsResponse {
        throttle_time_ms: i32, versions 0..;
        filter_results: Vec<DeleteAclsFilterResult>, versions 0..;
    }

    struct DeleteAclsFilterResult {
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        matching_acls: Vec<DeleteAclsMatchingAcl>, versions 0..;
    }

    struct DeleteAclsMatchingAcl {
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        pattern_type: i8 = 3, versions 1..;
        principal: Str, versions 0..;
        host: Str, versions 0..;
        operation: i8, versions 0..;
        permission_type: i8, versions 0..;
    }
}
