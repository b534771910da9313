//! `kafka-broker-api-versions`: which requests each broker understands, in which versions (Kafka: `BrokerApiVersionsCommand`).

use std::io::Write as _;

use clap::Parser;
use client::kafka::{ApiVersions, Lane, Node};
use protocol::api::ApiKey;

use crate::failure::Failure;
use crate::{connect, options};

/// Say which requests each broker understands.
#[derive(Debug, Parser)]
struct Options {
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: String,
    /// Properties for the connection to the brokers
    #[arg(long, value_name = "FILE")]
    command_config: Option<String>,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-broker-api-versions", words)?;
    let done = connect::block_on(async {
        let cluster = connect::kafka(&options.bootstrap_server, options.command_config.as_deref()).await?;
        for node in cluster.metadata().brokers.values() {
            let connection = cluster.connection(node.id, Lane::General).await?;
            std::io::stdout().write_all(describe(node, connection.versions()).as_bytes())?;
        }
        Ok(())
    });
    done.map_err(|failure| failure.with_servers(&options.bootstrap_server))
}

fn describe(node: &Node, versions: &ApiVersions) -> String {
    let rack = node.rack.as_deref().unwrap_or("null");
    let lines: Vec<String> = ApiKey::ALL.iter().map(|key| line(*key, versions)).collect();
    format!("{} (id: {} rack: {rack}) -> (\n{}\n)\n", node.address, node.id, lines.join(",\n"))
}

fn line(key: ApiKey, versions: &ApiVersions) -> String {
    let name = format!("\t{key:?}({})", key as i16);
    let Some(range) = versions.range(key) else { return format!("{name}: UNSUPPORTED") };
    let (low, high) = (range.start(), range.end());
    let known = if low == high { low.to_string() } else { format!("{low} to {high}") };
    match versions.highest(key) {
        Ok(usable) => format!("{name}: {known} [usable: {usable}]"),
        Err(_) => format!("{name}: {known} [unusable: node too new or too old]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_the_versions_and_the_one_that_is_used() {
        let versions = ApiVersions::from_broker([(3, 0, 5), (18, 0, 0)]);
        let check = |key: ApiKey, expected: &str| assert_eq!(line(key, &versions), expected);
        check(ApiKey::Metadata, "\tMetadata(3): 0 to 5 [usable: 5]");
        check(ApiKey::ApiVersions, "\tApiVersions(18): 0 [usable: 0]");
        check(ApiKey::Produce, "\tProduce(0): UNSUPPORTED");
    }
}
