//! The JSON files of reassignments: topics to move, partitions with their replicas. What a person wrote may be anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use protocol::types::TopicPartition;
use runtime::Disk;
use serde_json::Value;

use crate::failure::Failure;

/// Largest file read.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The one version there is.
const VERSION: i64 = 1;
/// How the files look, for people.
const TOPICS_EXAMPLE: &str = r#"{"version":1,"topics":[{"topic":"foo"},{"topic":"foo1"}]}"#;
const PARTITIONS_EXAMPLE: &str = r#"{"version":1,"partitions":[{"topic":"foo","partition":1,"replicas":[1,2,3]}]}"#;

/// Replicas by partition.
pub type Assignment = BTreeMap<TopicPartition, Vec<i32>>;

/// How the two forms write a partition in their messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `[t,0]`
    Brackets,
    /// `t-0`
    Dash,
}

impl Style {
    /// The partition's name.
    pub fn name(self, partition: &TopicPartition) -> String {
        match self {
            Style::Brackets => format!("[{},{}]", partition.topic, partition.partition),
            Style::Dash => partition.to_string(),
        }
    }
}

/// Why a file cannot be used: what, and why where there is more to say.
#[derive(Debug)]
enum Wrong {
    /// It is no JSON at all.
    NotJson(serde_json::Error),
    /// It is, and of another shape.
    Shape(String),
    Version(i64),
}

/// The topics of a `--topics-to-move-json-file`.
pub fn topics(path: &str) -> Result<Vec<String>, Failure> {
    let topics = parse_topics(&read(path)?).map_err(|wrong| refuse(wrong, path, TOPICS_EXAMPLE))?;
    let twice = repeated(&topics);
    if !twice.is_empty() {
        let twice = twice.iter().map(|topic| topic.as_str()).collect::<Vec<_>>().join(",");
        return Err(Failure::verbatim(format!("List of topics to reassign contains duplicate entries: {twice}"))
            .cause(format!("they stand in {path}"))
            .help(format!("vi +1 {path}")));
    }
    Ok(topics)
}

/// The partitions of a `--reassignment-json-file`, in its order; some may stand there twice.
pub fn partitions(path: &str) -> Result<Vec<(TopicPartition, Vec<i32>)>, Failure> {
    parse_partitions(&read(path)?).map_err(|wrong| refuse(wrong, path, PARTITIONS_EXAMPLE))
}

/// The partitions of a file that is to be executed: some, each once, each on brokers that differ.
pub fn moves(path: &str, empty: &str, style: Style) -> Result<Assignment, Failure> {
    let listed = partitions(path)?;
    let change = |failure: Failure| failure.help(format!("vi +1 {path}"));
    if listed.is_empty() {
        return Err(change(Failure::verbatim(empty).cause(format!("it is written {PARTITIONS_EXAMPLE}"))));
    }
    check(&listed, style).map_err(|what| change(Failure::verbatim(what).cause(format!("they stand in {path}"))))?;
    Ok(listed.into_iter().collect())
}

fn check(listed: &[(TopicPartition, Vec<i32>)], style: Style) -> Result<(), String> {
    if listed.iter().any(|(_, replicas)| replicas.is_empty()) {
        return Err("Partition replica list cannot be empty".to_owned());
    }
    let names: Vec<&TopicPartition> = listed.iter().map(|(partition, _)| partition).collect();
    let twice: Vec<String> = repeated(&names).into_iter().map(|partition| style.name(partition)).collect();
    if !twice.is_empty() {
        return Err(format!("Partition reassignment contains duplicate topic partitions: {}", twice.join(",")));
    }
    let doubled = listed.iter().filter_map(|(partition, replicas)| {
        let twice: Vec<String> = repeated(replicas).into_iter().map(ToString::to_string).collect();
        let name = style.name(partition);
        (!twice.is_empty()).then(|| format!("{name} contains multiple entries for {}", twice.join(",")))
    });
    let doubled: Vec<String> = doubled.collect();
    if !doubled.is_empty() {
        return Err(format!("Partition replica lists may not contain duplicate entries: {}", doubled.join(". ")));
    }
    Ok(())
}

/// What stands in a list more than once, each once, sorted.
pub fn repeated<T: Ord>(list: &[T]) -> Vec<&T> {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&T> = list.iter().filter(|one| !seen.insert(*one)).collect();
    twice.into_iter().collect()
}

/// An assignment as the tool prints and takes it; 3.9 adds a log directory for each replica.
pub fn to_json(assignment: &Assignment, with_log_dirs: bool) -> String {
    let entries: Vec<String> = assignment
        .iter()
        .map(|(partition, replicas)| {
            let log_dirs = match with_log_dirs {
                true => format!(",\"log_dirs\":[{}]", vec!["\"any\""; replicas.len()].join(",")),
                false => String::new(),
            };
            let (topic, number) = (Value::from(&*partition.topic), partition.partition);
            let replicas = crate::assignment::id_list(replicas);
            format!("{{\"topic\":{topic},\"partition\":{number},\"replicas\":[{replicas}]{log_dirs}}}")
        })
        .collect();
    format!("{{\"version\":1,\"partitions\":[{}]}}", entries.join(","))
}

/// The bytes of a file that a person named.
///
/// # Errors
/// Where it is not there, not readable or too large.
pub fn read(path: &str) -> Result<Vec<u8>, Failure> {
    Disk::real().read_text(Path::new(path), FILE_BYTES_MAX).map_err(|error| {
        let place = Path::new(path).ancestors().skip(1).find(|folder| folder.is_dir());
        let place = place.filter(|place| !place.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let said = runtime::machine::without_number(&error.to_string()).to_owned();
        Failure::verbatim(format!("{path} ({said})")).help(format!("ls -l {}", place.display()))
    })
}

fn refuse(wrong: Wrong, path: &str, example: &str) -> Failure {
    match wrong {
        Wrong::NotJson(why) => Failure::verbatim("The input string is not a valid JSON")
            .cause(format!("{path}: {why}"))
            .help(format!("vi +{} {path}", why.line().max(1))),
        Wrong::Shape(why) => Failure::verbatim(format!("{path}: {why}"))
            .cause(format!("it is written {example}"))
            .help(format!("vi +1 {path}")),
        Wrong::Version(version) => Failure::verbatim(format!("Not supported version field value {version}"))
            .cause(format!("it stands in {path}"))
            .help(format!("vi +1 {path}")),
    }
}

fn parse_topics(bytes: &[u8]) -> Result<Vec<String>, Wrong> {
    let name = |entry: &Value| Ok(entry.get("topic").and_then(Value::as_str).ok_or("a topic has no name")?.to_owned());
    list_of(bytes, "topics", name)
}

fn parse_partitions(bytes: &[u8]) -> Result<Vec<(TopicPartition, Vec<i32>)>, Wrong> {
    list_of(bytes, "partitions", |entry| {
        let topic = entry.get("topic").and_then(Value::as_str).ok_or("a partition has no topic")?;
        let number = entry.get("partition").and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
        let number =
            number.filter(|number| *number >= 0).ok_or_else(|| format!("a partition of {topic} has no number"))?;
        let partition = TopicPartition::new(topic, number);
        let id = |id: &Value| i32::try_from(id.as_i64()?).ok();
        let replicas = entry.get("replicas").and_then(Value::as_array);
        let replicas = replicas.and_then(|replicas| replicas.iter().map(id).collect::<Option<Vec<i32>>>());
        let replicas = replicas.ok_or_else(|| format!("partition {partition} has no list of replicas"))?;
        check_log_dirs(entry, &partition, replicas.len())?;
        Ok((partition, replicas))
    })
}

/// `log_dirs`, where it is there, has an entry for each replica; the broker chooses the directory.
fn check_log_dirs(entry: &Value, partition: &TopicPartition, replicas: usize) -> Result<(), String> {
    let Some(log_dirs) = entry.get("log_dirs") else { return Ok(()) };
    let log_dirs = log_dirs.as_array().ok_or_else(|| format!("log_dirs of partition {partition} is no list"))?;
    if log_dirs.len() != replicas {
        return Err(format!(
            "Size of replicas list {replicas} is different from size of log dirs list {} for partition {partition}",
            log_dirs.len()
        ));
    }
    match log_dirs.iter().find(|folder| folder.as_str() != Some("any")) {
        Some(folder) => Err(format!(
            "partition {partition} is to lie in log directory {folder}, and only \"any\" is understood: the broker chooses"
        )),
        None => Ok(()),
    }
}

fn list_of<T>(bytes: &[u8], key: &str, read: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, Wrong> {
    let root: Value = serde_json::from_slice(bytes).map_err(Wrong::NotJson)?;
    if !root.is_object() {
        return Err(Wrong::Shape("it is no object".to_owned()));
    }
    match root.get("version").map(Value::as_i64) {
        None | Some(Some(VERSION)) => {}
        Some(Some(version)) => return Err(Wrong::Version(version)),
        Some(None) => return Err(Wrong::Shape("its version is no number".to_owned())),
    }
    let list = match root.get(key) {
        None => return Err(Wrong::Shape(format!("it has no \"{key}\""))),
        Some(list) => list.as_array().ok_or_else(|| Wrong::Shape(format!("\"{key}\" is no list")))?,
    };
    list.iter().map(|entry| read(entry).map_err(Wrong::Shape)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(topic: &str, partition: i32, replicas: &[i32]) -> (TopicPartition, Vec<i32>) {
        (TopicPartition::new(topic, partition), replicas.to_vec())
    }

    #[test]
    fn files_are_read_as_they_are_printed() {
        let assignment = Assignment::from([one("t", 0, &[2, 0]), one("t", 10, &[1]), one("a\"b", 2, &[])]);
        let plain = to_json(&assignment, false);
        assert_eq!(
            plain,
            r#"{"version":1,"partitions":[{"topic":"a\"b","partition":2,"replicas":[]},{"topic":"t","partition":0,"replicas":[2,0]},{"topic":"t","partition":10,"replicas":[1]}]}"#
        );
        let full = to_json(&Assignment::from([one("t", 0, &[2, 0])]), true);
        assert_eq!(
            full,
            r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[2,0],"log_dirs":["any","any"]}]}"#
        );
        for (text, expected) in [(plain, assignment), (full, Assignment::from([one("t", 0, &[2, 0])]))] {
            assert_eq!(parse_partitions(text.as_bytes()).unwrap().into_iter().collect::<Assignment>(), expected);
        }
        let topics = parse_topics(br#"{"topics":[{"topic":"a"},{"topic":"b"}],"version":1}"#).unwrap();
        assert_eq!(topics, ["a", "b"]);
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let said = |text: &str| refuse(parse_partitions(text.as_bytes()).unwrap_err(), "f.json", "EXAMPLE").to_string();
        for (text, expected) in [
            ("not json", "The input string is not a valid JSON"),
            ("", "The input string is not a valid JSON"),
            ("[]", "f.json: it is no object"),
            ("{}", "f.json: it has no \"partitions\""),
            (r#"{"version":2}"#, "Not supported version field value 2"),
            (r#"{"version":"x"}"#, "f.json: its version is no number"),
            (r#"{"partitions":7}"#, "f.json: \"partitions\" is no list"),
            (r#"{"partitions":[{"partition":0}]}"#, "f.json: a partition has no topic"),
            (r#"{"partitions":[{"topic":"t","partition":-1}]}"#, "f.json: a partition of t has no number"),
            (
                r#"{"partitions":[{"topic":"t","partition":0,"replicas":["x"]}]}"#,
                "f.json: partition t-0 has no list of replicas",
            ),
            (
                r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any"]}]}"#,
                "f.json: Size of replicas list 2 is different from size of log dirs list 1 for partition t-0",
            ),
            (
                r#"{"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":["/d"]}]}"#,
                "f.json: partition t-0 is to lie in log directory \"/d\", and only \"any\" is understood: the broker chooses",
            ),
        ] {
            assert_eq!(said(text).lines().next(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_partition_or_a_broker_that_stands_there_twice_is_named() {
        let check = |listed: &[(TopicPartition, Vec<i32>)], style, expected: &str| {
            assert_eq!(check(listed, style).unwrap_err(), expected);
        };
        let twice = [one("t", 0, &[1]), one("u", 0, &[1]), one("t", 0, &[2])];
        check(&twice, Style::Brackets, "Partition reassignment contains duplicate topic partitions: [t,0]");
        check(&twice, Style::Dash, "Partition reassignment contains duplicate topic partitions: t-0");
        let doubled = [one("t", 0, &[2, 2, 1, 2, 1]), one("t", 1, &[3, 3])];
        check(
            &doubled,
            Style::Dash,
            "Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1,2. t-1 contains multiple entries for 3",
        );
        check(&[one("t", 0, &[])], Style::Dash, "Partition replica list cannot be empty");
    }
}
