//! `kafka-leader-election`: gives leadership to preferred replicas, or to whoever is left (Kafka: `LeaderElectionCommand`), in the words of 3.9.

use std::fmt::Write as _;

use clap::Parser;
use client::kafka::admin::{Admin, ElectionType};
use client::kafka::{ClientError, EXAMPLE_SERVERS};
use protocol::error::ErrorCode;
use protocol::types::TopicPartition;

use crate::failure::Failure;
use crate::reassign_partitions::file::Style;
use crate::{connect, options, preferred_replica_election};

/// Have other replicas lead.
#[derive(Debug, Parser)]
struct Options {
    /// The brokers to ask: host:port[,host:port]
    #[arg(long, value_name = "HOSTS")]
    bootstrap_server: Option<String>,
    /// Properties for the connection to the brokers
    #[arg(long, visible_alias = "admin.config", value_name = "FILE")]
    command_config: Option<String>,
    /// preferred: the first replica of each partition leads; unclean: any live one, where none leads, even if it has lost records
    #[arg(long, value_name = "TYPE")]
    election_type: Option<String>,
    /// All partitions that need it
    #[arg(long)]
    all_topic_partitions: bool,
    /// The topic of one partition
    #[arg(long)]
    topic: Option<String>,
    /// Its number
    #[arg(long)]
    partition: Option<i32>,
    /// {"partitions":[{"topic":"foo","partition":1},{"topic":"foobar","partition":2}]}
    #[arg(long, value_name = "FILE")]
    path_to_json_file: Option<String>,
}

/// Runs the tool.
pub fn run(words: &[String]) -> Result<(), Failure> {
    let options: Options = options::parse("kafka-leader-election", words)?;
    let (servers, election) = check(&options)?;
    let partitions = match (&options.path_to_json_file, &options.topic, options.partition) {
        (Some(path), ..) => Some(preferred_replica_election::partitions(path, "Replica election data", Style::Dash)?),
        (None, Some(topic), Some(partition)) => Some(vec![TopicPartition::new(topic.as_str(), partition)]),
        _ => None,
    };
    let done = connect::block_on(async {
        let admin = Admin::new(connect::kafka(servers, options.command_config.as_deref()).await?);
        elect(&admin, election, partitions.as_deref()).await
    });
    done.map_err(|failure| failure.with_servers(servers))
}

/// The brokers and the election, where the options make sense.
fn check(options: &Options) -> Result<(&str, ElectionType), Failure> {
    let usage = |what: &str| Failure::misuse(what).help("bin/kafka-leader-election.sh --help");
    let (servers, election) = match (&options.bootstrap_server, &options.election_type) {
        (Some(servers), Some(election)) => (servers, election),
        (servers, election) => {
            let missing = [("bootstrap-server", servers), ("election-type", election)];
            let missing: Vec<&str> =
                missing.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| *name).collect();
            return Err(usage(&format!("Missing required option(s): {}", missing.join(", "))));
        }
    };
    let election = match election.to_ascii_lowercase().as_str() {
        "preferred" => ElectionType::Preferred,
        "unclean" => ElectionType::Unclean,
        _ => {
            let what = format!("Cannot parse argument '{election}' of option election-type");
            return Err(usage(&what).cause("it is one of preferred, unclean"));
        }
    };
    let chosen = [options.topic.is_some(), options.all_topic_partitions, options.path_to_json_file.is_some()];
    if chosen.iter().filter(|chosen| **chosen).count() != 1 {
        return Err(usage(
            "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
        ));
    }
    match (&options.topic, options.partition) {
        (Some(_), None) => Err(usage("Missing required option(s): partition")),
        (None, Some(_)) => Err(usage("Option partition is only allowed if topic is used")),
        _ => Ok((servers, election)),
    }
}

async fn elect(admin: &Admin, election: ElectionType, partitions: Option<&[TopicPartition]>) -> Result<(), Failure> {
    let name = match election {
        ElectionType::Preferred => "PREFERRED",
        ElectionType::Unclean => "UNCLEAN",
    };
    let results = admin.elect_leaders(election, partitions).await.map_err(|error| match error {
        ClientError::NoBroker { .. } | ClientError::RequestTimeout { .. } | ClientError::Timeout { .. } => {
            Failure::verbatim("Timeout waiting for election results").explained_by(error.into())
        }
        error => error.into(),
    })?;
    let (out, failed) = report(name, results);
    print!("{out}");
    if out.is_empty() {
        eprintln!("note: no partition needs it");
    }
    let Some((first, count)) = failed else { return Ok(()) };
    let failure = Failure::new(format!("{count} replica(s) could not be elected")).cause(&first);
    Err(match first.code() {
        Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
            failure.help(format!("bin/kafka-topics.sh --list --bootstrap-server {EXAMPLE_SERVERS}"))
        }
        _ => failure.help(format!("bin/kafka-topics.sh --describe --bootstrap-server {EXAMPLE_SERVERS}")),
    })
}

/// What is printed of the results, and the first failure with the number of them.
fn report(
    election: &str,
    mut results: Vec<(String, Result<(), ClientError>)>,
) -> (String, Option<(ClientError, usize)>) {
    results.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (mut elected, mut needless, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (partition, result) in results {
        match result {
            Ok(()) => elected.push(partition),
            Err(error) if error.code() == Some(ErrorCode::ELECTION_NOT_NEEDED) => needless.push(partition),
            Err(error) => failed.push((partition, error)),
        }
    }
    let mut out = String::new();
    if !elected.is_empty() {
        let elected = elected.join(", ");
        let _ = writeln!(out, "Successfully completed leader election ({election}) for partitions {elected}");
    }
    if !needless.is_empty() {
        let _ = writeln!(out, "Valid replica already elected for partitions {}", needless.join(", "));
    }
    for (partition, error) in &failed {
        let class = error.code().map(exception).unwrap_or_default();
        let _ =
            writeln!(out, "Error completing leader election ({election}) for partition: {partition}: {class}{error}");
    }
    let count = failed.len();
    (out, failed.into_iter().next().map(|(_, error)| (error, count)))
}

/// The class by which Java's client calls an error: `PREFERRED_LEADER_NOT_AVAILABLE` is `org.apache.kafka.common.errors.PreferredLeaderNotAvailableException: `.
fn exception(code: ErrorCode) -> String {
    let camel: String = code
        .name()
        .split('_')
        .map(|word| word.chars().take(1).chain(word.to_ascii_lowercase().chars().skip(1)).collect::<String>())
        .collect();
    format!("org.apache.kafka.common.errors.{camel}Exception: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_printed_as_in_3_9() {
        let failed = |code| Err(ClientError::broker(code, "x"));
        let results = vec![
            ("t-1".to_owned(), Ok(())),
            ("t-0".to_owned(), Ok(())),
            ("u-0".to_owned(), failed(ErrorCode::ELECTION_NOT_NEEDED)),
            ("v-0".to_owned(), failed(ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE)),
        ];
        let (out, failed) = report("PREFERRED", results);
        insta::assert_snapshot!(out, @r"
        Successfully completed leader election (PREFERRED) for partitions t-0, t-1
        Valid replica already elected for partitions u-0
        Error completing leader election (PREFERRED) for partition: v-0: org.apache.kafka.common.errors.PreferredLeaderNotAvailableException: preferred leader is not available
        ");
        assert_eq!(failed.map(|(_, count)| count), Some(1));
    }

    #[test]
    fn lines_without_sense_are_refused_in_kafkas_words() {
        for (line, expected) in [
            ("--all-topic-partitions", "Missing required option(s): bootstrap-server, election-type"),
            (
                "--bootstrap-server h:1 --election-type x --all-topic-partitions",
                "Cannot parse argument 'x' of option election-type\ncause: it is one of preferred, unclean",
            ),
            (
                "--bootstrap-server h:1 --election-type preferred",
                "One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file",
            ),
            ("--bootstrap-server h:1 --election-type UNCLEAN --topic t", "Missing required option(s): partition"),
            (
                "--bootstrap-server h:1 --election-type preferred --all-topic-partitions --partition 0",
                "Option partition is only allowed if topic is used",
            ),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let said = run(&words).unwrap_err().to_string();
            assert_eq!(said, format!("{expected}\nhelp: bin/kafka-leader-election.sh --help"), "{line}");
        }
    }
}
