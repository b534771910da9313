//! ApiVersions: which APIs a broker serves, and in which versions (KIP-35, KIP-511).
//!
//! A request in a version the broker does not have is answered in v0 with error 35 and the list; the response header never has tagged fields.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api ApiVersions: ApiVersionsRequest => ApiVersionsResponse, versions 0..=4, flexible 3..;

    /// What is asked.
    struct ApiVersionsRequest {
        client_software_name: Str, ignorable 3..;
        client_software_version: Str, ignorable 3..;
    }

    /// What is answered.
    struct ApiVersionsResponse {
        error_code: i16, versions 0..;
        api_keys: Vec<ApiVersion>, versions 0..;
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, ignorable 1..;
        supported_features: Vec<SupportedFeatureKey>, ignorable 3.., tag 0;
        /// -1 is not known.
        finalized_features_epoch: i64 = -1, ignorable 3.., tag 1;
        finalized_features: Vec<FinalizedFeatureKey>, ignorable 3.., tag 2;
        zk_migration_ready: bool, ignorable 3.., tag 3;
    }

    /// An API and its range of versions.
    struct ApiVersion {
        api_key: i16, versions 0..;
        min_version: i16, versions 0..;
        max_version: i16, versions 0..;
    }

    /// A feature the broker can have.
    struct SupportedFeatureKey {
        name: Str, versions 3..;
        min_version: i16, versions 3..;
        max_version: i16, versions 3..;
    }

    /// A feature the cluster has switched on.
    struct FinalizedFeatureKey {
        name: Str, versions 3..;
        max_version_level: i16, versions 3..;
        min_version_level: i16, versions 3..;
    }
}
