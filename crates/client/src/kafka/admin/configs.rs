//! Configurations of topics and brokers.

use protocol::messages::alter_configs::{self, AlterConfigsRequest};
use protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};
use protocol::messages::incremental_alter_configs::{self, IncrementalAlterConfigsRequest};
use protocol::types::BrokerId;
use protocol::wire::Str;

use super::super::error::{Result, check_code_with};
use super::{Admin, Kind, PerName, To, only};

/// What a configuration belongs to (`org.apache.kafka.common.config.ConfigResource`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// A broker; `None` is the default of all brokers.
    Broker(Option<BrokerId>),
    /// The loggers of a broker.
    BrokerLogger(BrokerId),
    /// A group.
    Group(String),
}

impl ConfigResource {
    /// Type and name on the wire.
    fn wire(&self) -> (i8, Str) {
        match self {
            ConfigResource::Topic(name) => (2, Str::from(name.as_str())),
            ConfigResource::Broker(None) => (4, Str::from("")),
            ConfigResource::Broker(Some(broker)) => (4, Str::from(broker.to_string())),
            ConfigResource::BrokerLogger(broker) => (8, Str::from(broker.to_string())),
            ConfigResource::Group(name) => (32, Str::from(name.as_str())),
        }
    }

    /// A broker answers for itself; for the rest any will do.
    fn to(&self) -> To {
        match self {
            ConfigResource::Broker(Some(broker)) | ConfigResource::BrokerLogger(broker) => To::Broker(*broker),
            _ => To::Any,
        }
    }
}

/// Where a value comes from (`ConfigEntry.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// The broker did not say, or it is a newer kind.
    Unknown,
    /// The topic's own.
    DynamicTopic,
    /// Set for one broker while it runs.
    DynamicBroker,
    /// Set for all brokers while they run.
    DynamicDefaultBroker,
    /// `server.properties`.
    StaticBroker,
    /// Kafka's default.
    Default,
    /// Of a logger.
    DynamicBrokerLogger,
    /// Of a group.
    Group,
}

impl ConfigSource {
    fn from_wire(source: i8) -> ConfigSource {
        match source {
            1 => ConfigSource::DynamicTopic,
            2 => ConfigSource::DynamicBroker,
            3 => ConfigSource::DynamicDefaultBroker,
            4 => ConfigSource::StaticBroker,
            5 => ConfigSource::Default,
            6 => ConfigSource::DynamicBrokerLogger,
            8 => ConfigSource::Group,
            _ => ConfigSource::Unknown,
        }
    }

    /// Kafka's name, as `kafka-configs.sh` prints it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ConfigSource::Unknown => "UNKNOWN",
            ConfigSource::DynamicTopic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
            ConfigSource::Default => "DEFAULT_CONFIG",
            ConfigSource::DynamicBrokerLogger => "DYNAMIC_BROKER_LOGGER_CONFIG",
            ConfigSource::Group => "GROUP_CONFIG",
        }
    }
}

/// One configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` where there is none, or where it is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can be changed by clients.
    pub read_only: bool,
    /// Whether its value is kept secret.
    pub is_sensitive: bool,
    /// Values that would count in its stead, the strongest first (the one that counts is the first of them).
    pub synonyms: Vec<ConfigSynonym>,
}

impl ConfigEntry {
    /// Whether it was set for the resource itself.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        !matches!(self.source, ConfigSource::Default | ConfigSource::StaticBroker | ConfigSource::Unknown)
    }
}

/// A value that would count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// Its name there: a topic's `retention.ms` is the broker's `log.retention.ms`.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// A change of one configuration (KIP-339).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlterOperation {
    /// To this value.
    Set(String),
    /// Back to what counts without it.
    Delete,
    /// This, added to the list it is.
    Append(String),
    /// This, taken out of the list it is.
    Subtract(String),
}

impl AlterOperation {
    fn wire(&self) -> (i8, Option<Str>) {
        match self {
            AlterOperation::Set(value) => (0, Some(Str::from(value.as_str()))),
            AlterOperation::Delete => (1, None),
            AlterOperation::Append(value) => (2, Some(Str::from(value.as_str()))),
            AlterOperation::Subtract(value) => (3, Some(Str::from(value.as_str()))),
        }
    }
}

impl Admin {
    /// The configurations of a resource; `names` picks some, `None` all.
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST; [`super::super::ClientError::UnsupportedVersion`] from brokers before 0.11.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        names: Option<&[&str]>,
    ) -> Result<Vec<ConfigEntry>> {
        let (resource_type, resource_name) = resource.wire();
        let keys = names.map(|names| names.iter().map(|name| Str::from(*name)).collect());
        let results = self
            .call("describeConfigs", resource.to(), Kind::Question, async |connection| {
                let version = connection.version_of::<DescribeConfigsRequest>()?;
                let request = DescribeConfigsRequest {
                    resources: vec![DescribeConfigsResource {
                        resource_type,
                        resource_name: resource_name.clone(),
                        configuration_keys: keys.clone(),
                    }],
                    include_synonyms: version >= 1,
                    include_documentation: false,
                };
                let response = connection.send_version(&request, version).await?;
                let results = response.results.iter().map(|result| {
                    let (name, code) =
                        judged(&result.resource_name, result.error_code, result.error_message.as_deref());
                    (name, code.map(|()| result.configs.iter().map(read_entry).collect()))
                });
                Ok(results.collect::<PerName<Vec<ConfigEntry>>>())
            })
            .await?;
        only(results, "DescribeConfigs")
    }

    /// Changes some configurations of a resource and leaves the rest. Brokers before 2.3 cannot: see [`Admin::alter_configs`].
    ///
    /// # Errors
    /// INVALID_CONFIG with the broker's sentence, UNKNOWN_TOPIC_OR_PARTITION.
    pub async fn incremental_alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[(String, AlterOperation)],
        validate_only: bool,
    ) -> Result<()> {
        let (resource_type, resource_name) = resource.wire();
        let change = |(name, operation): &(String, AlterOperation)| {
            let (config_operation, value) = operation.wire();
            let name = Str::from(name.as_str());
            incremental_alter_configs::AlterableConfig { name, config_operation, value }
        };
        let configs = changes.iter().map(change).collect();
        let resource_changes =
            incremental_alter_configs::AlterConfigsResource { resource_type, resource_name, configs };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource_changes], validate_only };
        let results = self
            .call("incrementalAlterConfigs", resource.to(), Kind::Change, async |connection| {
                let response = connection.send(&request).await?;
                let results = response
                    .responses
                    .iter()
                    .map(|result| judged(&result.resource_name, result.error_code, result.error_message.as_deref()));
                Ok(results.collect::<PerName<()>>())
            })
            .await?;
        only(results, "IncrementalAlterConfigs")
    }

    /// Replaces all configurations of a resource: what is not named goes back to its default.
    ///
    /// # Errors
    /// As [`Admin::incremental_alter_configs`].
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        configs: &[(String, String)],
        validate_only: bool,
    ) -> Result<()> {
        let (resource_type, resource_name) = resource.wire();
        let config = |(name, value): &(String, String)| alter_configs::AlterableConfig {
            name: Str::from(name.as_str()),
            value: Some(Str::from(value.as_str())),
        };
        let configs = configs.iter().map(config).collect();
        let resource_configs = alter_configs::AlterConfigsResource { resource_type, resource_name, configs };
        let request = AlterConfigsRequest { resources: vec![resource_configs], validate_only };
        let results = self
            .call("alterConfigs", resource.to(), Kind::Change, async |connection| {
                let response = connection.send(&request).await?;
                let results = response
                    .responses
                    .iter()
                    .map(|result| judged(&result.resource_name, result.error_code, result.error_message.as_deref()));
                Ok(results.collect::<PerName<()>>())
            })
            .await?;
        only(results, "AlterConfigs")
    }
}

/// What a response says of one resource.
fn judged(name: &str, error_code: i16, message: Option<&str>) -> (String, Result<()>) {
    (name.to_owned(), check_code_with(error_code, message, || name.to_owned()))
}

fn read_entry(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    let text = |value: &Option<Str>| value.as_deref().map(str::to_string);
    ConfigEntry {
        name: config.name.to_string(),
        value: text(&config.value),
        source: match config.config_source {
            // Version 0 says only whether it is the default.
            -1 if config.is_default => ConfigSource::Default,
            source => ConfigSource::from_wire(source),
        },
        read_only: config.read_only,
        is_sensitive: config.is_sensitive,
        synonyms: config
            .synonyms
            .iter()
            .map(|synonym| ConfigSynonym {
                name: synonym.name.to_string(),
                value: text(&synonym.value),
                source: ConfigSource::from_wire(synonym.source),
            })
            .collect(),
    }
}
