//! CreateAcls, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api CreateAcls: CreateAclsRequest => CreateAclsResponse, versions 0..=3, flexible 2..;

    struct CreateAclsRequest {
        creations: Vec<AclCreation>, versions 0..;
    }

    struct AclCreation {
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        resource_pattern_type: i8 = 3, versions 1..;
        principal: Str, versions 0..;
        host: Str, versions 0..;
        operation: i8, versions 0..;
        permission_type: i8, versions 0..;
    }

    struct CreateAclsResponse {
        throttle_time_ms: i32, versions 0..;
        results: Vec<AclCreationResult>, versions 0..;
    }

    struct AclCreationResult {
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
    }
}
