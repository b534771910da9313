//! DeleteAcls: refused filter by filter, for there is no authorizer.

use protocol::error::ErrorCode;
use protocol::messages::delete_acls::{DeleteAclsFilterResult, DeleteAclsRequest, DeleteAclsResponse};
use protocol::wire::Str;

use super::describe_acls::NO_AUTHORIZER;

/// Refuses each filter.
pub fn handle(request: DeleteAclsRequest) -> DeleteAclsResponse {
    let refused = DeleteAclsFilterResult {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(Str::from_static(NO_AUTHORIZER)),
        ..Default::default()
    };
    DeleteAclsResponse { filter_results: vec![refused; request.filters.len()], ..Default::default() }
}
