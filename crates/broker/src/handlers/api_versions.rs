//! ApiVersions: what this broker serves (KIP-35, KIP-511).

use protocol::api::ApiKey;
use protocol::error::ErrorCode;
use protocol::messages::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

use super::{Session, served};

/// Longest software name or version that KIP-511 takes; its pattern is `[a-zA-Z0-9](?:[a-zA-Z0-9\\-.]*[a-zA-Z0-9])?`.
const SOFTWARE_NAME_MAX: usize = 128;

/// Answers with every API served, and remembers what software the client is.
pub fn handle(session: &mut Session, version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    if version >= 3 {
        if !is_software_name(&request.client_software_name) || !is_software_name(&request.client_software_version) {
            return ApiVersionsResponse { error_code: ErrorCode::INVALID_REQUEST.0, ..Default::default() };
        }
        session.software =
            Some((request.client_software_name.to_string(), request.client_software_version.to_string()));
    }
    ApiVersionsResponse { api_keys: api_keys(), ..Default::default() }
}

/// What a client that asks in an unknown version is told, in version 0: error 35 and the versions of this one API (KIP-511).
#[must_use]
pub fn unsupported_version() -> ApiVersionsResponse {
    let own = api_keys().into_iter().filter(|api| api.api_key == ApiKey::ApiVersions.to_i16()).collect();
    ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION.0, api_keys: own, ..Default::default() }
}

fn api_keys() -> Vec<ApiVersion> {
    let served = ApiKey::ALL.iter().filter_map(|api| Some((*api, served(*api)?)));
    served
        .map(|(api, versions)| ApiVersion {
            api_key: api.to_i16(),
            min_version: *versions.start(),
            max_version: *versions.end(),
        })
        .collect()
}

fn is_software_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    bytes.len() <= SOFTWARE_NAME_MAX
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_follow_the_kip() {
        for (name, expected) in [("librdkafka", true), ("2.16.0-rc1", true), ("", false), ("-x", false), ("a b", false)]
        {
            assert_eq!(is_software_name(name), expected, "{name:?}");
        }
    }
}
