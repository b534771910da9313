//! DescribeConfigs, all versions.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse, versions 0..=4, flexible 4..;

    struct DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource>, versions 0..;
        include_synonyms: bool, versions 1..;
        include_documentation: bool, versions 3..;
    }

    struct DescribeConfigsResource {
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        configuration_keys: Option<Vec<Str>> = Some(Default::default()), versions 0..;
    }

    struct DescribeConfigsResponse {
        throttle_time_ms: i32, versions 0..;
        results: Vec<DescribeConfigsResult>, versions 0..;
    }

    struct DescribeConfigsResult {
        error_code: i16, versions 0..;
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        configs: Vec<DescribeConfigsResourceResult>, versions 0..;
    }

    struct DescribeConfigsResourceResult {
        name: Str, versions 0..;
        value: Option<Str> = Some(Default::default()), versions 0..;
        read_only: bool, versions 0..;
        is_default: bool, versions 0..=0;
        config_source: i8 = -1, ignorable 1..;
        is_sensitive: bool, versions 0..;
        synonyms: Vec<DescribeConfigsSynonym>, ignorable 1..;
        config_type: i8, ignorable 3..;
        documentation: Option<Str> = Some(Default::default()), ignorable 3..;
    }

    struct DescribeConfigsSynonym {
        name: Str, versions 1..;
        value: Option<Str> = Some(Default::default()), versions 1..;
        source: i8, versions 1..;
    }
}
