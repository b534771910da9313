//! The `--zookeeper` form: `/admin/reassign_partitions` is written for the controller, in the words of 0.9.0.1.

use std::collections::{BTreeMap, BTreeSet};

use client::zookeeper::znodes::{BrokerRegistration, Reassignment, TopicAssignment};
use client::zookeeper::{CreateMode, Session, paths};
use protocol::types::TopicPartition;
use runtime::Random;

use super::file::{self, Assignment, Style};
use super::{Action, Options, only_action, plan, usage};
use crate::assignment::{Candidate, id_list};
use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};
use crate::{connect, stdout, tools};

/// What 0.9 puts before every failure.
const FAILED: &str = "Partitions reassignment failed due to ";

/// The action of the options, with all that it needs.
pub fn action(options: &Options) -> Result<Action, Failure> {
    let action = only_action(options, &[Action::Generate, Action::Execute, Action::Verify])?;
    for (name, is_used) in [
        ("throttle", options.throttle.is_some()),
        ("additional", options.additional),
        ("preserve-throttles", options.preserve_throttles),
        ("command-config", options.command_config.is_some()),
    ] {
        if is_used {
            return Err(usage(&format!("Option \"[{name}]\" can't be used with option \"[zookeeper]\"")));
        }
    }
    let missing = match action {
        Action::Generate if options.topics_to_move_json_file.is_none() || options.broker_list.is_none() => {
            "both --topics-to-move-json-file and --broker-list options"
        }
        Action::Execute if options.reassignment_json_file.is_none() => {
            "--reassignment-json-file that was output during the --generate option"
        }
        Action::Verify if options.reassignment_json_file.is_none() => {
            "--reassignment-json-file that was used during the --execute option"
        }
        _ => return Ok(action),
    };
    Err(usage(&format!("If --{} option is used, command must include {missing}", action.name())))
}

/// Runs the one action of the options.
pub async fn run(options: &Options, action: Action, hosts: &str) -> Result<(), Failure> {
    let session = connect::zookeeper(hosts).await?;
    let file = options.reassignment_json_file.as_deref().unwrap_or_default();
    let done = match action {
        Action::Generate => generate(&session, options).await,
        Action::Execute => match execute(&session, file).await {
            Ok(None) => Ok(()),
            // 0.9 has words of its own for it.
            Ok(Some(none_there)) => return Err(none_there),
            Err(failure) => Err(failure),
        },
        _ => verify(&session, file).await,
    };
    session.close().await;
    done.map_err(|failure| failure.behind(FAILED))
}

async fn generate(session: &Session, options: &Options) -> Result<(), Failure> {
    let wanted = super::broker_ids(options.broker_list.as_deref().unwrap_or_default())?;
    let topics = file::topics(options.topics_to_move_json_file.as_deref().unwrap_or_default())?;
    let live = places(session).await?;
    let chosen: Vec<Candidate> = live
        .iter()
        .filter(|place| wanted.contains(&place.id))
        .map(|place| if options.disable_rack_aware { Candidate { rack: None, ..place.clone() } } else { place.clone() })
        .collect();
    let live: BTreeSet<i32> = live.iter().map(|place| place.id).collect();
    refuse_missing(&wanted.iter().copied().collect(), &live)?;
    let current = assignment_of(session, &topics).await?;
    let proposed = plan::propose(&current, &chosen, |below| Random::real().below(below as u64) as usize)
        .map_err(|failure| failure.cause(format!("--broker-list {}", id_list(&wanted))))?;
    stdout::line(format_args!("Current partition replica assignment\n\n{}", file::to_json(&current, false)));
    stdout::line(format_args!("Proposed partition reassignment configuration\n\n{}", file::to_json(&proposed, false)));
    Ok(())
}

/// Starts the moves of the file. Gives what is said where none of its partitions is there.
async fn execute(session: &Session, path: &str) -> Result<Option<Failure>, Failure> {
    let empty = format!("Partition reassignment data file {path} is empty");
    let proposed = file::moves(path, &empty, Style::Brackets)?;
    let live: BTreeSet<i32> = places(session).await?.iter().map(|place| place.id).collect();
    refuse_missing(&proposed.values().flatten().copied().collect(), &live)?;
    let topics: BTreeSet<String> = proposed.keys().map(|partition| partition.topic.to_string()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    let current = assignment_of(session, &topics).await?;
    stdout::line(format_args!(
        "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
        file::to_json(&current, false)
    ));
    let mut valid = Vec::new();
    for (partition, replicas) in &proposed {
        let name = Style::Brackets.name(partition);
        if current.contains_key(partition) {
            valid.push((partition.topic.to_string(), partition.partition, replicas.clone()));
        } else if current.keys().any(|known| known.topic == partition.topic) {
            eprintln!("ERROR Skipping reassignment of partition {name} since it doesn't exist");
        } else {
            let topic = &partition.topic;
            eprintln!("ERROR Skipping reassignment of partition {name} since topic {topic} doesn't exist");
        }
    }
    if valid.is_empty() {
        let entry = |(partition, replicas): (&TopicPartition, &Vec<i32>)| {
            format!("({},{})", Style::Brackets.name(partition), scala_list(replicas))
        };
        let all: Vec<String> = proposed.iter().map(entry).collect();
        return Ok(Some(
            Failure::verbatim(format!("Failed to reassign partitions List({})", all.join(", ")))
                .cause("none of them exists")
                .help(format!("bin/kafka-topics.sh --describe --zookeeper {EXAMPLE_ZOOKEEPER}")),
        ));
    }
    let znode = Reassignment { partitions: valid }.to_json();
    match session.create_recursive(paths::REASSIGN_PARTITIONS, znode, CreateMode::Persistent).await {
        Ok(_) => {}
        Err(error) if error.is_node_exists() => return Err(in_progress(&asked_for(session).await?)),
        Err(error) => return Err(error.into()),
    }
    stdout::line(format_args!("Successfully started reassignment of partitions {}", file::to_json(&proposed, false)));
    Ok(None)
}

async fn verify(session: &Session, path: &str) -> Result<(), Failure> {
    let targets = file::partitions(path)?;
    let topics: BTreeSet<String> = targets.iter().map(|(partition, _)| partition.topic.to_string()).collect();
    // Before the assignments are read: what has left the list in between is then seen as it has become.
    let asked = asked_for(session).await?;
    let (mut current, mut moving) = (Assignment::new(), BTreeSet::new());
    for topic in topics {
        let Some(znode) = topic_znode(session, &topic).await? else { continue };
        for (partition, replicas) in &znode.partitions {
            current.insert(TopicPartition::new(topic.as_str(), *partition), replicas.clone());
        }
        // Controllers since 2.4 keep moves under way with the topic (KIP-455).
        let under_way = znode.adding_replicas.iter().chain(&znode.removing_replicas);
        let under_way = under_way.filter(|(_, replicas)| !replicas.is_empty());
        moving.extend(under_way.map(|(partition, _)| TopicPartition::new(topic.as_str(), *partition)));
    }
    stdout::line(format_args!("Status of partition reassignment:"));
    let mut all_well = true;
    for (partition, target) in &targets {
        let name = Style::Brackets.name(partition);
        let assigned = current.get(partition).map(Vec::as_slice).unwrap_or_default();
        if asked.contains_key(partition) || moving.contains(partition) {
            stdout::line(format_args!("Reassignment of partition {name} is still in progress"));
        } else if assigned == target {
            stdout::line(format_args!("Reassignment of partition {name} completed successfully"));
        } else {
            stdout::line(format_args!(
                "ERROR: Assigned replicas ({}) don't match the list of replicas for reassignment ({}) for partition {name}",
                id_list(assigned),
                id_list(target)
            ));
            stdout::line(format_args!("Reassignment of partition {name} failed"));
            all_well = false;
        }
    }
    if all_well { Ok(()) } else { Err(Failure::silent(1)) }
}

/// Brokers that are to hold something must be there.
fn refuse_missing(wanted: &BTreeSet<i32>, live: &BTreeSet<i32>) -> Result<(), Failure> {
    let missing: Vec<i32> = wanted.difference(live).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let live: Vec<i32> = live.iter().copied().collect();
    Err(Failure::verbatim(format!("The proposed assignment contains non-existent brokerIDs: {}", id_list(&missing)))
        .cause(format!("brokers registered under /brokers/ids: {}", id_list(&live)))
        .help(format!("bin/zookeeper-shell.sh {EXAMPLE_ZOOKEEPER} ls /brokers/ids")))
}

fn in_progress(asked: &BTreeMap<TopicPartition, Vec<i32>>) -> Failure {
    let entry = |(partition, replicas): (&TopicPartition, &Vec<i32>)| {
        format!("{} -> ReassignedPartitionsContext({},null)", Style::Brackets.name(partition), scala_list(replicas))
    };
    let entries: Vec<String> = asked.iter().map(entry).collect();
    Failure::verbatim(format!(
        "Partition reassignment currently in progress for Map({}). Aborting operation",
        entries.join(", ")
    ))
    .cause(format!("{} is there until the controller has moved them", paths::REASSIGN_PARTITIONS))
    .help(format!("bin/zookeeper-shell.sh {EXAMPLE_ZOOKEEPER} get {}", paths::REASSIGN_PARTITIONS))
}

/// `List(2, 0)`
fn scala_list(ids: &[i32]) -> String {
    format!("List({})", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
}

/// What the controller has been asked to move and has not done with.
async fn asked_for(session: &Session) -> Result<BTreeMap<TopicPartition, Vec<i32>>, Failure> {
    let Some((data, _)) = session.try_get_data(paths::REASSIGN_PARTITIONS).await? else { return Ok(BTreeMap::new()) };
    let asked = Reassignment::parse(paths::REASSIGN_PARTITIONS, &data)?.partitions.into_iter();
    Ok(asked.map(|(topic, partition, replicas)| (TopicPartition::new(topic.as_str(), partition), replicas)).collect())
}

/// The live brokers with their racks.
async fn places(session: &Session) -> Result<Vec<Candidate>, Failure> {
    let ids: Vec<i32> = match session.get_children(paths::BROKER_IDS).await {
        Ok(names) => names.iter().filter_map(|name| name.parse().ok()).collect(),
        Err(error) if error.is_no_node() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let znodes: Vec<String> = ids.iter().map(|id| format!("{}/{id}", paths::BROKER_IDS)).collect();
    let mut places = Vec::new();
    for ((id, path), data) in ids.iter().zip(&znodes).zip(session.read_many(&znodes).await?) {
        // One that has gone since is none.
        let Some((data, _)) = data else { continue };
        places.push(Candidate { id: *id, rack: BrokerRegistration::parse(path, &data)?.rack });
    }
    Ok(places)
}

/// Where the partitions of topics lie now; a topic that is not there is told and left out.
async fn assignment_of(session: &Session, topics: &[String]) -> Result<Assignment, Failure> {
    let mut assignment = Assignment::new();
    for topic in topics {
        let Some(znode) = topic_znode(session, topic).await? else {
            let all = session.get_children(paths::BROKER_TOPICS).await.unwrap_or_default();
            eprintln!(
                "note: topic {topic} does not exist{}",
                tools::did_you_mean(topic, all.iter().map(String::as_str))
            );
            continue;
        };
        let entries = znode.partitions.into_iter();
        assignment.extend(entries.map(|(number, replicas)| (TopicPartition::new(topic.as_str(), number), replicas)));
    }
    Ok(assignment)
}

async fn topic_znode(session: &Session, topic: &str) -> Result<Option<TopicAssignment>, Failure> {
    // A name that no topic can have is no path either.
    if topic.is_empty() || topic.contains('/') {
        return Ok(None);
    }
    let path = paths::topic(topic);
    match session.try_get_data(&path).await? {
        Some((data, _)) => Ok(Some(TopicAssignment::parse(&path, &data)?)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_progress_is_named_as_0_9_names_it() {
        let asked = BTreeMap::from([(TopicPartition::new("t", 0), vec![2, 0])]);
        let expected = "Partition reassignment currently in progress for Map([t,0] -> ReassignedPartitionsContext(List(2, 0),null)). Aborting operation";
        assert_eq!(in_progress(&asked).text(), expected);
    }

    #[test]
    fn brokers_that_are_not_there_are_named() {
        let set = |ids: &[i32]| ids.iter().copied().collect::<BTreeSet<i32>>();
        assert!(refuse_missing(&set(&[1, 2]), &set(&[1, 2, 3])).is_ok());
        let said = refuse_missing(&set(&[7, 2, 9]), &set(&[1, 2])).unwrap_err().to_string();
        assert!(said.starts_with("The proposed assignment contains non-existent brokerIDs: 7,9\ncause: brokers registered under /brokers/ids: 1,2\n"), "{said}");
    }
}
