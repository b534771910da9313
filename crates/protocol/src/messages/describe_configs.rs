//! DescribeConfigs: reads the configuration of topics and brokers.

use crate::messages::table::messages;
use crate::wire::Str;

messages! {
    api DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse, versions 0..=4, flexible 4..;

    /// What is asked.
    struct DescribeConfigsRequest {
        resources: Vec<DescribeConfigsResource>, versions 0..;
        include_synonyms: bool, versions 1..;
        include_documentation: bool, versions 3..;
    }

    /// A resource asked for.
    struct DescribeConfigsResource {
        /// AclResourceType or ConfigResource code: for configurations 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        /// None asks for all.
        configuration_keys: Option<Vec<Str>> = Some(Default::default()), versions 0..;
    }

    /// What is answered.
    struct DescribeConfigsResponse {
        /// How long the broker held back, or asks the client to hold back, because of a quota.
        throttle_time_ms: i32, versions 0..;
        results: Vec<DescribeConfigsResult>, versions 0..;
    }

    /// Configuration of one resource.
    struct DescribeConfigsResult {
        error_code: i16, versions 0..;
        /// More than the code says, for people.
        error_message: Option<Str> = Some(Default::default()), versions 0..;
        /// AclResourceType or ConfigResource code: for configurations 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group.
        resource_type: i8, versions 0..;
        resource_name: Str, versions 0..;
        configs: Vec<DescribeConfigsResourceResult>, versions 0..;
    }

    /// A configuration entry.
    struct DescribeConfigsResourceResult {
        name: Str, versions 0..;
        value: Option<Str> = Some(Default::default()), versions 0..;
        read_only: bool, versions 0..;
        /// v0 only.
        is_default: bool, versions 0..=0;
        /// 1: topic; 2: broker; 3: default for all brokers; 4: server.properties; 5: built in; 6: broker logger; 7: client metrics; 8: group.
        config_source: i8 = -1, ignorable 1..;
        /// The value is withheld.
        is_sensitive: bool, versions 0..;
        synonyms: Vec<DescribeConfigsSynonym>, ignorable 1..;
        /// 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password.
        config_type: i8, ignorable 3..;
        documentation: Option<Str> = Some(Default::default()), ignorable 3..;
    }

    /// A place where the entry's value may come from, strongest first.
    struct DescribeConfigsSynonym {
        name: Str, versions 1..;
        value: Option<Str> = Some(Default::default()), versions 1..;
        /// As `config_source`.
        source: i8, versions 1..;
    }
}
