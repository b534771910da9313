//! AlterConfigs, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api AlterConfigs: AlterConfigsRequest => AlterConfigsResponse, versions 0..=2, flexible 2..;

    struct AlterConfigsRequest {
        resources: Vec<AlterConfigsResource>, versions 0..;
        validate_only: bool, versions 0..;
    }

    struct AlterConfigsResource {
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        configs: Vec<AlterableConfig>, versions 0..;
    }

    struct AlterableConfig {
        name: Str, versions 0..;
        value: Option<Str> = Some(Default::default()), versions 0..;
    }

    struct AlterConfigsResponse {
        throttle_time_ms: i32, versions 0..;
        responses: Vec<AlterConfigsResourceResponse>, versions 0..;
    }

    struct AlterConfigsResourceResponse {
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
    }
}
