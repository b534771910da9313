//! The resource type BROKER_LOGGER of DescribeConfigs and IncrementalAlterConfigs: levels of the log, seen and changed while the broker runs (KIP-412).
//!
//! A change holds until the broker ends; nothing is written to the tree.

use protocol::error::ErrorCode;
use protocol::messages::describe_configs::DescribeConfigsResourceResult;
use protocol::messages::incremental_alter_configs::AlterableConfig;
use protocol::wire::Str;
use tracing::info;

use super::alter_configs::{APPEND, DELETE, SET, SUBTRACT};
use super::refused::Refused;
use crate::loggers::{Level, ROOT};
use crate::state::BrokerState;

/// `ConfigSource.DYNAMIC_BROKER_LOGGER_CONFIG`.
const DYNAMIC_BROKER_LOGGER: i8 = 6;

/// A broker's loggers are its own business alone, so it must be named.
pub(super) fn check_broker(broker: &BrokerState, name: &str) -> Result<(), Refused> {
    let refused = |text: String| Err((ErrorCode::INVALID_REQUEST, text));
    match name.parse::<i32>() {
        Ok(id) if id == broker.id => Ok(()),
        Ok(id) => refused(format!("Unexpected broker id, expected {} but received {id}", broker.id)),
        Err(_) if name.is_empty() => refused("Broker id must not be empty".to_owned()),
        Err(_) => refused(format!("Broker id must be an integer, but it is: {name}")),
    }
}

/// Every logger that is wanted with the level that holds for it. `says_default` is for version 0, which knows no sources.
pub(super) fn describe(
    broker: &BrokerState,
    wanted: &impl Fn(&str) -> bool,
    says_default: bool,
) -> Vec<DescribeConfigsResourceResult> {
    let levels = broker.loggers.as_ref().map_or_else(Vec::new, |loggers| loggers.levels());
    let described =
        levels.into_iter().filter(|(name, _)| wanted(name)).map(|(name, level)| DescribeConfigsResourceResult {
            name: Str::from(name),
            value: Some(Str::from_static(level.name())),
            read_only: false,
            is_default: says_default,
            config_source: DYNAMIC_BROKER_LOGGER,
            ..Default::default()
        });
    described.collect()
}

/// Changes levels, all or none.
pub(super) fn alter(
    broker: &BrokerState,
    name: &str,
    operations: &[AlterableConfig],
    validate_only: bool,
) -> Result<(), Refused> {
    check_broker(broker, name)?;
    let Some(loggers) = &broker.loggers else {
        let text = "The log levels of this broker cannot be changed: the program around it keeps them";
        return Err((ErrorCode::INVALID_REQUEST, text.to_owned()));
    };
    let changes = operations.iter().map(|operation| check(operation, |logger| loggers.exists(logger)));
    let changes: Vec<(&str, Option<Level>)> = changes.collect::<Result<_, _>>()?;
    if validate_only {
        return Ok(());
    }
    for (logger, level) in changes {
        loggers.set(logger, level);
        info!("the level of logger {logger} is now {}", level.map_or("inherited", Level::name));
    }
    Ok(())
}

/// What an operation changes (`ControllerConfigurationValidator`, `ConfigAdminManager.validateLogLevelConfigs`).
fn check(operation: &AlterableConfig, exists: impl Fn(&str) -> bool) -> Result<(&str, Option<Level>), Refused> {
    let invalid = |text: String| Err((ErrorCode::INVALID_REQUEST, text));
    let logger = &*operation.name;
    if matches!(operation.config_operation, SET | DELETE) && !exists(logger) {
        return Err((ErrorCode::INVALID_CONFIG, format!("Logger {logger} does not exist!")));
    }
    match operation.config_operation {
        SET => {
            let level = operation.value.as_deref().unwrap_or_default();
            // Kafka's levels are written in capitals, and in no other way.
            let known = Level::ALL.into_iter().find(|known| known.name() == level).ok_or_else(|| {
                let names = Level::ALL.map(Level::name).join(", ");
                let text = format!("Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are {names}");
                (ErrorCode::INVALID_CONFIG, text)
            })?;
            Ok((logger, Some(known)))
        }
        DELETE if logger == ROOT => invalid(format!("Removing the log level of the {ROOT} logger is not allowed")),
        DELETE => Ok((logger, None)),
        operation @ (APPEND | SUBTRACT) => {
            let name = if operation == APPEND { "APPEND" } else { "SUBTRACT" };
            invalid(format!("{name} operation is not allowed for the BROKER_LOGGER resource"))
        }
        other => invalid(format!("Unknown operation {other} for logger {logger}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_kafkas() {
        let expect = |name: &str, value: Option<&str>, operation: i8, expected: Result<Option<Level>, &str>| {
            let config =
                AlterableConfig { name: Str::from(name), value: value.map(Str::from), config_operation: operation };
            let checked = check(&config, |logger| logger == ROOT || logger == "broker");
            let checked = checked.map(|(_, level)| level).map_err(|(_, text)| text);
            assert_eq!(checked.as_ref().copied().map_err(String::as_str), expected, "{name} {value:?} {operation}");
        };
        expect("broker", Some("DEBUG"), SET, Ok(Some(Level::Debug)));
        expect("root", Some("FATAL"), SET, Ok(Some(Level::Fatal)));
        expect("broker", None, DELETE, Ok(None));
        expect("root", None, DELETE, Err("Removing the log level of the root logger is not allowed"));
        expect("kafka", Some("INFO"), SET, Err("Logger kafka does not exist!"));
        expect(
            "broker",
            Some("info"),
            SET,
            Err(
                "Cannot set the log level of broker to info as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN",
            ),
        );
        expect("broker", Some("INFO"), APPEND, Err("APPEND operation is not allowed for the BROKER_LOGGER resource"));
        expect("broker", Some("INFO"), 9, Err("Unknown operation 9 for logger broker"));
    }
}
