//! DescribeAcls: who may do what (KIP-140). There is no authorizer, and it is said as Kafka says it where none is set.

use protocol::error::ErrorCode;
use protocol::messages::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use protocol::wire::Str;

/// With SECURITY_DISABLED, for all three requests about ACLs.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

/// Refuses.
pub fn handle(_request: DescribeAclsRequest) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SECURITY_DISABLED.0,
        error_message: Some(Str::from_static(NO_AUTHORIZER)),
        ..Default::default()
    }
}
