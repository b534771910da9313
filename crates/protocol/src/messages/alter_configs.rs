//! AlterConfigs: replaces the whole configuration of topics and brokers. What is not named falls back to its default; use IncrementalAlterConfigs instead.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterConfigs: AlterConfigsRequest => AlterConfigsResponse, versions 0..=2, flexible 2..;

    /// What is asked.
    struct AlterConfigsRequest {
        resources: Vec<AlterConfigsResource>, versions 0..;
        /// Check, but change nothing.
        validate_only: bool, versions 0..;
    }

    /// New configuration of one resource.
    struct AlterConfigsResource {
        /// AclResourceType or ConfigResource code: for configurations 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        configs: Vec<AlterableConfig>, versions 0..;
    }

    /// A configuration entry.
    struct AlterableConfig {
        name: Str, versions 0..;
        /// None removes it.
        value: Option<Str> = Some(Default::default()), versions 0..;
    }

    /// What is answered.
    struct AlterConfigsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        responses: Vec<AlterConfigsResourceResponse>, versions 0..;
    }

    /// Outcome for one resource.
    struct AlterConfigsResourceResponse {
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        /// AclResourceType or ConfigResource code: for configurations 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
    }
}
