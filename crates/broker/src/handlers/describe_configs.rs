//! DescribeConfigs: what is set on a topic or broker, where it was set, and what would hold otherwise (KIP-133, KIP-226).

use std::sync::Arc;

use protocol::error::ErrorCode;
use protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use protocol::wire::Str;

use super::refused::Refused;
use super::{RequestContext, broker_loggers};
use crate::config::broker_keys::KEYS;
use crate::config::dynamic::DYNAMIC_KEYS;
use crate::config::key::{Key, Update};
use crate::config::topic::{Source, TOPIC_KEYS, effective, synonyms};
use crate::controller::topics::validate_name;
use crate::state::BrokerState;

/// `resource_type` of a topic.
pub(super) const TOPIC: i8 = 2;
/// `resource_type` of a broker.
pub(super) const BROKER: i8 = 4;
/// `resource_type` of a broker's loggers.
pub(super) const BROKER_LOGGER: i8 = 8;

/// What a client wants to see besides the values.
#[derive(Clone, Copy)]
struct Detail {
    /// Version 0 says whether a value is a default, later ones where it comes from.
    is_default: bool,
    synonyms: bool,
    documentation: bool,
}

/// Answers from the image and from this broker's own settings.
pub fn handle(
    broker: &Arc<BrokerState>,
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let detail = Detail {
        is_default: context.version == 0,
        synonyms: request.include_synonyms,
        documentation: request.include_documentation,
    };
    let results = request.resources.into_iter().map(|resource| {
        let described = describe(broker, &resource, detail);
        let (configs, code, message) = match described {
            Ok(configs) => (configs, ErrorCode::NONE, None),
            Err((code, message)) => (Vec::new(), code, Some(Str::from(message))),
        };
        DescribeConfigsResult {
            error_code: code.0,
            error_message: message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

fn describe(
    broker: &BrokerState,
    resource: &DescribeConfigsResource,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    let wanted =
        |name: &str| resource.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| **key == *name));
    match resource.resource_type {
        TOPIC => describe_topic(broker, &resource.resource_name, &wanted, detail),
        BROKER if resource.resource_name.is_empty() => Ok(describe_dynamic(broker, &[None], &wanted, detail)),
        BROKER => {
            check_broker(broker, &resource.resource_name)?;
            let fixed = KEYS.iter().filter(|key| wanted(key.name)).map(|key| describe_broker_key(broker, key, detail));
            let whose = [Some(broker.id), None];
            Ok(fixed.chain(describe_dynamic(broker, &whose, &wanted, detail)).collect())
        }
        BROKER_LOGGER => {
            broker_loggers::check_broker(broker, &resource.resource_name)?;
            Ok(broker_loggers::describe(broker, &wanted, detail.is_default))
        }
        other => Err((ErrorCode::INVALID_REQUEST, format!("Unsupported resource type: {other}"))),
    }
}

/// A broker answers for itself only.
pub(super) fn check_broker(broker: &BrokerState, name: &str) -> Result<(), Refused> {
    match name.parse::<i32>() {
        Ok(id) if id == broker.id => Ok(()),
        Ok(id) => {
            let text = format!("Unexpected broker id, expected {} or empty string, but received {id}", broker.id);
            Err((ErrorCode::INVALID_REQUEST, text))
        }
        Err(_) => Err((ErrorCode::INVALID_REQUEST, format!("Broker id must be an integer, but it is: {name}"))),
    }
}

fn describe_topic(
    broker: &BrokerState,
    name: &str,
    wanted: &impl Fn(&str) -> bool,
    detail: Detail,
) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
    validate_name(name).map_err(|why| (ErrorCode::INVALID_TOPIC_EXCEPTION, why))?;
    let image = broker.metadata.image();
    let topic = image.topic(name).ok_or((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, String::new()))?;
    let settings = &broker.config.settings;
    let keys = TOPIC_KEYS.iter().filter(|topic| wanted(topic.key.name));
    let configs = keys.map(|key| {
        let (value, source) = effective(key, &topic.overrides, settings);
        let synonyms = if detail.synonyms { synonyms(key, &topic.overrides, settings) } else { Vec::new() };
        let synonyms = synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
            name: Str::from_static(synonym.name),
            value: synonym.value.map(Str::from),
            source: synonym.source as i8,
        });
        let synonyms = synonyms.collect();
        DescribeConfigsResourceResult { synonyms, ..result(&key.key, value, source, false, detail) }
    });
    Ok(configs.collect())
}

fn describe_broker_key(broker: &BrokerState, key: &Key, detail: Detail) -> DescribeConfigsResourceResult {
    let settings = &broker.config.settings;
    let set = settings.explicit(key.name).filter(|value| !value.is_empty());
    let (value, source) = match set {
        Some(value) => (Some(value.to_owned()), Source::StaticBroker),
        None => (key.default.map(str::to_owned), Source::Default),
    };
    let mut synonyms = Vec::new();
    if detail.synonyms {
        let name = Str::from_static(key.name);
        if let Some(value) = set {
            synonyms.push(DescribeConfigsSynonym {
                name: name.clone(),
                value: Some(Str::from(value)),
                source: Source::StaticBroker as i8,
            });
        }
        if let Some(default) = key.default {
            synonyms.push(DescribeConfigsSynonym {
                name,
                value: Some(Str::from_static(default)),
                source: Source::Default as i8,
            });
        }
    }
    DescribeConfigsResourceResult { synonyms, ..result(key, value, source, key.update == Update::ReadOnly, detail) }
}

/// What is set on running brokers: the first of `whose` stands over the others.
fn describe_dynamic(
    broker: &BrokerState,
    whose: &[Option<i32>],
    wanted: &impl Fn(&str) -> bool,
    detail: Detail,
) -> Vec<DescribeConfigsResourceResult> {
    let image = broker.metadata.image();
    let keys = DYNAMIC_KEYS.iter().filter(|key| wanted(key.name));
    let described = keys.filter_map(|key| {
        let set: Vec<(Source, &String)> = whose
            .iter()
            .filter_map(|whose| {
                let source = whose.map_or(Source::DynamicDefaultBroker, |_| Source::DynamicBroker);
                Some((source, image.broker_overrides.get(whose)?.get(key.name)?))
            })
            .collect();
        let (source, value) = set.first().copied()?;
        let synonyms = set.iter().filter(|_| detail.synonyms).map(|(source, value)| DescribeConfigsSynonym {
            name: Str::from_static(key.name),
            value: Some(Str::from(value.as_str())),
            source: *source as i8,
        });
        let synonyms = synonyms.collect();
        Some(DescribeConfigsResourceResult { synonyms, ..result(key, Some(value.clone()), source, false, detail) })
    });
    described.collect()
}

fn result(
    key: &Key,
    value: Option<String>,
    source: Source,
    read_only: bool,
    detail: Detail,
) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: Str::from_static(key.name),
        value: value.map(Str::from),
        read_only,
        is_default: detail.is_default && matches!(source, Source::StaticBroker | Source::Default),
        config_source: source as i8,
        is_sensitive: false,
        synonyms: Vec::new(),
        config_type: key.kind.wire_code(),
        documentation: detail.documentation.then(|| Str::from_static(key.doc)),
    }
}
