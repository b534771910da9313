//! The `--bootstrap-server` form: the brokers are asked, in the words of 3.9.

use std::collections::{BTreeMap, BTreeSet};

use client::kafka::admin::{Admin, AlterOperation, ConfigResource, Reassignment};
use client::kafka::{ClientError, EXAMPLE_SERVERS};
use protocol::error::ErrorCode;
use protocol::spelling;
use protocol::types::{BrokerId, TopicPartition};
use runtime::Random;

use super::file::{self, Assignment, Style};
use super::{Action, Options, only_action, plan, usage};
use crate::assignment::{Candidate, id_list};
use crate::failure::Failure;
use crate::{connect, stdout};

/// What 3.9 puts before most failures.
const ERROR: &str = "Error: ";
/// Rates of brokers that a throttled move sets.
const BROKER_THROTTLES: [&str; 2] = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"];
/// Replicas of topics that it names.
const TOPIC_THROTTLES: [&str; 2] = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

const IN_PROGRESS: &str = "Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a new partition assignment in addition to the existing one. The --additional flag can also be used to change the throttle by resubmitting the current reassignment.";
const VERIFY_PERIODICALLY: &str =
    "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.";

/// The action of the options, with all that it needs and nothing that it cannot use.
pub fn action(options: &Options) -> Result<Action, Failure> {
    let action = only_action(options, &Action::ALL)?;
    let required: &[(&str, bool)] = match action {
        Action::Generate => &[
            ("topics-to-move-json-file", options.topics_to_move_json_file.is_some()),
            ("broker-list", options.broker_list.is_some()),
        ],
        Action::List => &[],
        _ => &[("reassignment-json-file", options.reassignment_json_file.is_some())],
    };
    if let Some((missing, _)) = required.iter().find(|(_, is_given)| !is_given) {
        return Err(usage(&format!("Missing required argument \"[{missing}]\"")));
    }
    let uses: [(&str, bool, &[Action]); 7] = [
        (
            "reassignment-json-file",
            options.reassignment_json_file.is_some(),
            &[Action::Execute, Action::Verify, Action::Cancel],
        ),
        ("topics-to-move-json-file", options.topics_to_move_json_file.is_some(), &[Action::Generate]),
        ("broker-list", options.broker_list.is_some(), &[Action::Generate]),
        ("disable-rack-aware", options.disable_rack_aware, &[Action::Generate]),
        ("throttle", options.throttle.is_some(), &[Action::Execute]),
        ("additional", options.additional, &[Action::Execute]),
        ("preserve-throttles", options.preserve_throttles, &[Action::Verify, Action::Cancel]),
    ];
    match uses.iter().find(|(_, is_given, actions)| *is_given && !actions.contains(&action)) {
        Some((name, ..)) => {
            Err(usage(&format!("Option \"[{name}]\" can't be used with action \"[{}]\"", action.name())))
        }
        None => Ok(action),
    }
}

/// Runs the one action of the options.
pub async fn run(options: &Options, action: Action, servers: &str) -> Result<(), Failure> {
    let admin = Admin::new(connect::kafka(servers, options.command_config.as_deref()).await?);
    let file = options.reassignment_json_file.as_deref().unwrap_or_default();
    match action {
        Action::Generate => generate(&admin, options).await,
        Action::Execute => execute(&admin, file, options.throttle, options.additional).await,
        Action::Verify => verify(&admin, file, options.preserve_throttles).await,
        Action::Cancel => cancel(&admin, file, options.preserve_throttles).await,
        Action::List => list(&admin).await,
    }
}

async fn generate(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let wanted = super::broker_ids(options.broker_list.as_deref().unwrap_or_default())?;
    let topics = file::topics(options.topics_to_move_json_file.as_deref().unwrap_or_default());
    let topics = topics.map_err(|failure| failure.behind(ERROR))?;
    let current: Assignment = describe(admin, topics.iter().map(String::as_str)).await?;
    let nodes = admin.describe_cluster().await?.nodes;
    let racks_count = !options.disable_rack_aware;
    let chosen = nodes.iter().filter(|node| wanted.contains(&node.id.0));
    let chosen: Vec<Candidate> =
        chosen.map(|node| Candidate { id: node.id.0, rack: node.rack.clone().filter(|_| racks_count) }).collect();
    let absent = wanted.iter().filter(|id| !chosen.iter().any(|place| place.id == **id));
    for id in absent {
        eprintln!("note: broker {id} is not there and is left out");
    }
    let with_rack = chosen.iter().filter(|place| place.rack.is_some()).count();
    if with_rack != 0 && with_rack != chosen.len() {
        return Err(Failure::verbatim(
            "Error: Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information.",
        ));
    }
    let proposed = plan::propose(&current, &chosen, |below| Random::real().below(below as u64) as usize);
    let proposed = proposed.map_err(|failure| failure.behind(ERROR))?;
    stdout::line(format_args!("Current partition replica assignment\n{}\n", file::to_json(&current, true)));
    stdout::line(format_args!("Proposed partition reassignment configuration\n{}", file::to_json(&proposed, true)));
    Ok(())
}

async fn execute(admin: &Admin, path: &str, throttle: Option<i64>, additional: bool) -> Result<(), Failure> {
    let proposed = file::moves(path, "Partition reassignment list cannot be empty", Style::Dash);
    let proposed = proposed.map_err(|failure| failure.behind(ERROR))?;
    let under_way = under_way(admin).await?;
    if !additional && !under_way.is_empty() {
        return Err(Failure::verbatim(IN_PROGRESS)
            .cause(format!("under way: {}", plan::names(under_way.iter().map(|moving| &moving.partition))))
            .help(format!("bin/kafka-reassign-partitions.sh --list --bootstrap-server {EXAMPLE_SERVERS}")));
    }
    let live: BTreeSet<i32> = admin.describe_cluster().await?.nodes.iter().map(|node| node.id.0).collect();
    let wanted: BTreeSet<i32> = proposed.values().flatten().copied().collect();
    if let Some(unknown) = wanted.difference(&live).next() {
        let live: Vec<i32> = live.iter().copied().collect();
        return Err(Failure::verbatim(format!("Error: Unknown broker id {unknown}"))
            .cause(format!("the cluster's brokers are {}", id_list(&live)))
            .help(format!("bin/kafka-broker-api-versions.sh --bootstrap-server {EXAMPLE_SERVERS}")));
    }
    let all = describe(admin, proposed.keys().map(|partition| &*partition.topic)).await?;
    let missing: Vec<&TopicPartition> = proposed.keys().filter(|partition| !all.contains_key(*partition)).collect();
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return Err(Failure::verbatim(format!("Error: Unable to find partition: {}", names.join(", ")))
            .cause(format!("it stands in {path}"))
            .help(format!(
                "bin/kafka-topics.sh --describe --bootstrap-server {EXAMPLE_SERVERS} --topic {}",
                missing[0].topic
            )));
    }
    let current: Assignment = all.into_iter().filter(|(partition, _)| proposed.contains_key(partition)).collect();
    stdout::line(format_args!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
        file::to_json(&current, true)
    ));
    if let Some(rate) = throttle.filter(|rate| *rate >= 0) {
        stdout::line(format_args!("{VERIFY_PERIODICALLY}"));
        set_throttles(admin, &plan::moves(&under_way, &proposed, &current), rate).await?;
        stdout::line(format_args!("The inter-broker throttle limit was set to {rate} B/s"));
    }
    let moves: BTreeMap<TopicPartition, Option<Vec<BrokerId>>> = proposed
        .iter()
        .map(|(partition, replicas)| (partition.clone(), Some(replicas.iter().copied().map(BrokerId).collect())))
        .collect();
    alter(admin, &moves, || "Error reassigning partition(s):".to_owned()).await?;
    stdout::line(format_args!(
        "Successfully started partition reassignment{} for {}",
        plan::plural(moves.len()),
        plan::names(moves.keys())
    ));
    Ok(())
}

/// Starts or cancels moves; `failed` is what 3.9 says before the partitions that were refused.
async fn alter(
    admin: &Admin,
    moves: &BTreeMap<TopicPartition, Option<Vec<BrokerId>>>,
    failed: impl Fn() -> String,
) -> Result<(), Failure> {
    let outcomes = admin.alter_partition_reassignments(moves).await?;
    let mut refused: Vec<(String, ClientError)> =
        outcomes.into_iter().filter_map(|(name, outcome)| Some((name, outcome.err()?))).collect();
    refused.sort_by(|(a, _), (b, _)| a.cmp(b));
    let Some((_, first)) = refused.first() else { return Ok(()) };
    let lines: Vec<String> = refused.iter().map(|(name, error)| format!("{name}: {error}")).collect();
    let failure = Failure::verbatim(format!("{}\n{}", failed(), lines.join("\n")));
    Err(match first.cause() {
        Some(cause) => failure.cause(cause),
        None => failure,
    }
    .help(format!("bin/kafka-topics.sh --describe --bootstrap-server {EXAMPLE_SERVERS}")))
}

async fn verify(admin: &Admin, path: &str, preserve_throttles: bool) -> Result<(), Failure> {
    let targets = file::partitions(path).map_err(|failure| failure.behind(ERROR))?;
    let under_way = under_way(admin).await?;
    let topics: BTreeSet<&str> = targets.iter().map(|(partition, _)| &*partition.topic).collect();
    let all = admin.list_topics().await?;
    let known = topics.iter().copied().filter(|topic| all.iter().any(|known| *known.name == **topic));
    let current = describe(admin, known).await?;
    stdout::line(format_args!("Status of partition reassignment:"));
    let mut all_well = true;
    let targets: Assignment = targets.into_iter().collect();
    for (partition, target) in &targets {
        let replicas = current.get(partition).map(Vec::as_slice).unwrap_or_default();
        if under_way.iter().any(|moving| moving.partition == *partition) {
            stdout::line(format_args!("Reassignment of partition {partition} is still in progress."));
        } else if replicas == target {
            stdout::line(format_args!("Reassignment of partition {partition} is completed."));
        } else {
            stdout::line(format_args!(
                "There is no active reassignment of partition {partition}, but replica set is {} rather than {}.",
                id_list(replicas),
                id_list(target)
            ));
            all_well = false;
        }
    }
    // 3.9 tells of log directories here, of which none is ever asked for.
    stdout::line("");
    if under_way.is_empty() && !preserve_throttles {
        clear_throttles(admin, &targets).await?;
    }
    if all_well { Ok(()) } else { Err(Failure::silent(1)) }
}

async fn cancel(admin: &Admin, path: &str, preserve_throttles: bool) -> Result<(), Failure> {
    let targets = file::partitions(path).map_err(|failure| failure.behind(ERROR))?;
    let targets: Assignment = targets.into_iter().collect();
    let under_way = under_way(admin).await?.into_iter().filter(|moving| targets.contains_key(&moving.partition));
    let moves: BTreeMap<TopicPartition, Option<Vec<BrokerId>>> =
        under_way.map(|moving| (moving.partition, None)).collect();
    if moves.is_empty() {
        stdout::line(format_args!("None of the specified partition reassignments are active."));
    } else {
        alter(admin, &moves, || format!("Error cancelling partition reassignment{} for:", plan::plural(moves.len())))
            .await?;
        stdout::line(format_args!(
            "Successfully cancelled partition reassignment{} for: {}",
            plan::plural(moves.len()),
            plan::names(moves.keys())
        ));
    }
    stdout::line(format_args!("None of the specified partition moves are active."));
    if !preserve_throttles {
        clear_throttles(admin, &targets).await?;
    }
    Ok(())
}

async fn list(admin: &Admin) -> Result<(), Failure> {
    let under_way = under_way(admin).await?;
    if under_way.is_empty() {
        stdout::line(format_args!("No partition reassignments found."));
        return Ok(());
    }
    stdout::line(format_args!("Current partition reassignments:"));
    for moving in &under_way {
        stdout::line(format_args!("{}", plan::listed(moving)));
    }
    Ok(())
}

/// The moves under way, sorted.
async fn under_way(admin: &Admin) -> Result<Vec<Reassignment>, Failure> {
    let mut under_way = admin.list_partition_reassignments().await?;
    under_way.sort_by(|a, b| a.partition.cmp(&b.partition));
    Ok(under_way)
}

/// Where the partitions of topics lie, during a move without those that it removes.
async fn describe<'a>(admin: &Admin, topics: impl Iterator<Item = &'a str>) -> Result<Assignment, Failure> {
    let names: Vec<&str> = topics.collect::<BTreeSet<&str>>().into_iter().collect();
    let mut assignment = Assignment::new();
    if names.is_empty() {
        return Ok(assignment);
    }
    for (name, described) in admin.describe_topics(&names).await? {
        let topic = match described {
            Ok(topic) => topic,
            Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {
                return Err(no_topic(admin, &name).await);
            }
            Err(error) => return Err(Failure::from(error).behind(ERROR)),
        };
        for partition in &topic.partitions {
            let replicas = partition.replicas.iter().map(|replica| replica.0).collect();
            assignment.insert(TopicPartition { topic: topic.name.clone(), partition: partition.partition }, replicas);
        }
    }
    Ok(assignment)
}

async fn no_topic(admin: &Admin, name: &str) -> Failure {
    let failure = Failure::verbatim(format!("Error: Topic {name} not found."))
        .help(format!("bin/kafka-topics.sh --list --bootstrap-server {EXAMPLE_SERVERS}"));
    let all = admin.list_topics().await.unwrap_or_default();
    match spelling::nearest(name, all.iter().map(|topic| &*topic.name)) {
        Some(near) => failure.cause(format!("did you mean \"{near}\"?")),
        None => failure,
    }
}

async fn set_throttles(
    admin: &Admin,
    moves: &BTreeMap<TopicPartition, plan::PartitionMove>,
    rate: i64,
) -> Result<(), Failure> {
    let set = |name: &str, value: String| (name.to_owned(), AlterOperation::Set(value));
    for (topic, (leaders, followers)) in plan::throttled(moves) {
        let [leading, following] = TOPIC_THROTTLES;
        let changes = [set(leading, leaders), set(following, followers)];
        admin.incremental_alter_configs(&ConfigResource::Topic(topic), &changes, false).await?;
    }
    for broker in plan::brokers(moves) {
        let changes = BROKER_THROTTLES.map(|name| set(name, rate.to_string()));
        admin.incremental_alter_configs(&ConfigResource::Broker(Some(BrokerId(broker))), &changes, false).await?;
    }
    Ok(())
}

/// Takes the throttles of all live brokers and of the topics away: nobody remembers which brokers a move concerned.
async fn clear_throttles(admin: &Admin, targets: &Assignment) -> Result<(), Failure> {
    let brokers: Vec<i32> = admin.describe_cluster().await?.nodes.iter().map(|node| node.id.0).collect();
    stdout::line(format_args!(
        "Clearing broker-level throttles on broker{} {}",
        plan::plural(brokers.len()),
        id_list(&brokers)
    ));
    for broker in brokers {
        clear(admin, &ConfigResource::Broker(Some(BrokerId(broker))), &BROKER_THROTTLES).await?;
    }
    let topics: BTreeSet<&str> = targets.keys().map(|partition| &*partition.topic).collect();
    let names: Vec<&str> = topics.into_iter().collect();
    stdout::line(format_args!(
        "Clearing topic-level throttles on topic{} {}",
        plan::plural(names.len()),
        names.join(",")
    ));
    for topic in names {
        match clear(admin, &ConfigResource::Topic(topic.to_owned()), &TOPIC_THROTTLES).await {
            // A topic that is gone has no throttle.
            Err(error) if error.code() == Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => {}
            cleared => cleared?,
        }
    }
    Ok(())
}

/// Deletes those of the settings that somebody has made.
async fn clear(admin: &Admin, resource: &ConfigResource, names: &[&str]) -> Result<(), ClientError> {
    let entries = admin.describe_configs(resource, None).await?;
    let is_set = |name: &&&str| entries.iter().any(|entry| entry.name == **name && entry.is_dynamic());
    let changes: Vec<(String, AlterOperation)> =
        names.iter().filter(is_set).map(|name| ((*name).to_owned(), AlterOperation::Delete)).collect();
    if changes.is_empty() {
        return Ok(());
    }
    admin.incremental_alter_configs(resource, &changes, false).await
}
