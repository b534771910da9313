//! DescribeAcls: lists access control entries that match a filter.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeAcls: DescribeAclsRequest => DescribeAclsResponse, versions 0..=3, flexible 2..;

    /// What is asked.
    struct DescribeAclsRequest {
        /// 1 is any.
        resource_type_filter: i8, versions 0..;
        /// None is any.
        resource_name_filter: Option<Str> = Some(Default::default()), versions 0..;
        /// 1 is any, 2 match, 3 literal, 4 prefixed.
        pattern_type_filter: i8 = 3, versions 1..;
        /// None is any.
        principal_filter: Option<Str> = Some(Default::default()), versions 0..;
        /// None is any.
        host_filter: Option<Str> = Some(Default::default()), versions 0..;
        /// AclOperation code.
        operation: i8, versions 0..;
        /// 2 denies, 3 allows; 1 is any in filters.
        permission_type: i8, versions 0..;
    }

    /// What is answered.
    struct DescribeAclsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        resources: Vec<DescribeAclsResource>, versions 0..;
    }

    /// A resource and its entries.
    struct DescribeAclsResource {
        /// AclResourceType or ConfigResource code: for configurations 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        /// 3 literal, 4 prefixed.
        pattern_type: i8 = 3, versions 1..;
        acls: Vec<AclDescription>, versions 0..;
    }

    /// An access control entry.
    struct AclDescription {
        principal: Str, versions 0..;
        host: Str, versions 0..;
        /// AclOperation code.
        operation: i8, versions 0..;
        /// 2 denies, 3 allows; 1 is any in filters.
        permission_type: i8, versions 0..;
    }
}
