//! ApiVersions, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ApiVersions: ApiVersionsRequest => ApiVersionsResponse, versions 0..=4, flexible 3..;

    struct ApiVersionsRequest {
        client_software_name: Str, ignorable 3..;
        client_software_version: Str, ignorable 3..;
    }

    struct ApiVersionsResponse {
        error_code: i16, versions 0..;
        api_keys: Vec<ApiVersion>, versions 0..;
        throttle_time_ms: i32, ignorable 1..;
        supported_features: Vec<SupportedFeatureKey>, ignorable 3.., tag 0;
        finalized_features_epoch: i64 = -1, ignorable 3.., tag 1;
        finalized_features: Vec<FinalizedFeatureKey>, ignorable 3.., tag 2;
        zk_migration_ready: bool, ignorable 3.., tag 3;
    }

    struct ApiVersion {
        api_key: i16, versions 0..;
        min_version: i16, versions 0..;
        max_version: i16, versions 0..;
    }

    struct SupportedFeatureKey {
        name: Str, versions 3..;
        min_version: i16, versions 3..;
        max_version: i16, versions 3..;
    }

    struct FinalizedFeatureKey {
        name: Str, versions 3..;
        max_version_level: i16, versions 3..;
        min_version_level: i16, versions 3..;
    }
}
