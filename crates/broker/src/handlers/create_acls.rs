//! CreateAcls: refused entry by entry, for there is no authorizer.

use protocol::error::ErrorCode;
use protocol::messages::create_acls::{AclCreationResult, CreateAclsRequest, CreateAclsResponse};
use protocol::wire::Str;

use super::describe_acls::NO_AUTHORIZER;

/// Refuses each entry.
pub fn handle(request: CreateAclsRequest) -> CreateAclsResponse {
    let refused = AclCreationResult {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(Str::from_static(NO_AUTHORIZER)),
    };
    CreateAclsResponse { results: vec![refused; request.creations.len()], ..Default::default() }
}
