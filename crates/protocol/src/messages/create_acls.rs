//! CreateAcls: adds access control entries.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api CreateAcls: CreateAclsRequest => CreateAclsResponse, versions 0..=3, flexible 2..;

    /// What is asked.
    struct CreateAclsRequest {
        creations: Vec<AclCreation>, versions 0..;
    }

    /// An entry to add.
    struct AclCreation {
        /// AclResourceType or ConfigResource code: for configurations 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        /// 3 literal, 4 prefixed.
        resource_pattern_type: i8 = 3, versions 1..;
        principal: Str, versions 0..;
        host: Str, versions 0..;
        /// AclOperation code.
        operation: i8, versions 0..;
        /// 2 denies, 3 allows; 1 is any in filters.
        permission_type: i8, versions 0..;
    }

    /// What is answered.
    struct CreateAclsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        results: Vec<AclCreationResult>, versions 0..;
    }

    /// Outcome for one entry.
    struct AclCreationResult {
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
    }
}
