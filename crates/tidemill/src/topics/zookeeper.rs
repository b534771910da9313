//! The `--zookeeper` form: Kafka's znodes read and written directly, in the words of 0.9.0.1.

use std::collections::BTreeMap;

use client::zookeeper::znodes::{ConfigChange, EntityConfig, PartitionState, TopicAssignment};
use client::zookeeper::{CreateMode, Session, paths};
use protocol::spelling;
use runtime::Random;

use super::{Options, chosen, names, parse_configs};
use crate::assignment::{Start, id_list, without_racks};
use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};
use crate::{assignment, connect, tools};

/// Runs the one action of the options.
pub async fn run(options: &Options, hosts: &str) -> Result<(), Failure> {
    let session = connect::zookeeper(hosts).await?;
    let done = if options.create {
        create(&session, options).await
    } else if options.list {
        list(&session, options).await
    } else if options.describe {
        describe(&session, options).await
    } else if options.alter {
        alter(&session, options, hosts).await
    } else {
        delete(&session, options, hosts).await
    };
    session.close().await;
    done
}

async fn create(session: &Session, options: &Options) -> Result<(), Failure> {
    let topic = options.topic.as_deref().unwrap_or_default();
    let config = parse_configs(options)?;
    if let Some(refusal) = names::refusal(topic) {
        return Err(Failure::verbatim(refusal)
            .cause("a topic is a folder and part of metric names")
            .help(create_command(names::legal(topic))));
    }
    let all = children(session, paths::BROKER_TOPICS).await?;
    if all.iter().any(|name| name == topic) {
        if options.if_not_exists {
            return Ok(());
        }
        return Err(already_exists(topic));
    }
    let twins: Vec<&str> = all.iter().filter(|name| names::collide(name, topic)).map(String::as_str).collect();
    if !twins.is_empty() {
        return Err(Failure::verbatim(format!(
            "Topic \"{topic}\" collides with existing topics: {}",
            twins.join(", ")
        ))
        .cause("metric names write '.' as '_'")
        .help(create_command(topic.replace(['.', '_'], "-"))));
    }
    let partitions = match &options.replica_assignment {
        Some(text) => {
            let assigned = assignment::by_hand(text, 0)?;
            // 0.9 takes it in silence, and the topic waits for them.
            let missing = missing(&assigned, &brokers(session).await?);
            if !missing.is_empty() {
                eprintln!("WARN some specified brokers not available: {}", id_list(&missing));
            }
            assigned
        }
        None => {
            let (Some(partitions), Some(replicas)) = (options.partitions, options.replication_factor) else {
                let missing = if options.partitions.is_none() { "partitions" } else { "replication-factor" };
                return Err(super::usage(&format!("Missing required argument \"[{missing}]\"")));
            };
            let brokers = brokers(session).await?;
            let at_random = |below: usize| Random::real().below(below as u64) as usize;
            let start = Start { first: at_random(brokers.len()), shift: at_random(brokers.len()), partition: 0 };
            let spread = assignment::spread(&without_racks(&brokers), partitions, i32::from(replicas), start);
            spread.map_err(|failure| failure.or_help(|| create_command(topic.to_owned())))?
        }
    };
    // The configuration first: whoever sees the topic finds it.
    write_config(session, topic, config).await?;
    let path = paths::topic(topic);
    let znode = TopicAssignment { partitions, ..TopicAssignment::default() };
    match session.create_recursive(&path, znode.to_json(), CreateMode::Persistent).await {
        Ok(_) => {}
        Err(error) if error.is_node_exists() => {
            return Err(already_exists(topic));
        }
        Err(error) => return Err(error.into()),
    }
    println!("Created topic \"{topic}\".");
    Ok(())
}

fn already_exists(topic: &str) -> Failure {
    Failure::verbatim(format!("Topic \"{topic}\" already exists."))
        .cause("it is registered under /brokers/topics")
        .help(format!("bin/kafka-topics.sh --describe --zookeeper {EXAMPLE_ZOOKEEPER} --topic {topic}"))
}

/// The command that makes a topic of this name on any cluster.
fn create_command(topic: String) -> String {
    format!(
        "bin/kafka-topics.sh --create --zookeeper {EXAMPLE_ZOOKEEPER} --replication-factor 1 --partitions 1 --topic {topic}"
    )
}

async fn list(session: &Session, options: &Options) -> Result<(), Failure> {
    let doomed = children(session, paths::DELETE_TOPICS).await?;
    let topics = chosen(options, children(session, paths::BROKER_TOPICS).await?)?;
    for topic in &topics {
        let mark = if doomed.contains(topic) { " - marked for deletion" } else { "" };
        println!("{topic}{mark}");
    }
    if topics.is_empty() {
        eprintln!("note: no topics");
    }
    Ok(())
}

async fn describe(session: &Session, options: &Options) -> Result<(), Failure> {
    let all = children(session, paths::BROKER_TOPICS).await?;
    let topics = chosen(options, all.clone())?;
    if let (Some(topic), true) = (&options.topic, topics.is_empty()) {
        // 0.9 says nothing here; a note on stderr breaks no script.
        eprintln!("note: topic {topic} does not exist{}", tools::did_you_mean(topic, all.iter().map(String::as_str)));
    }
    let live = brokers(session).await?;
    let only_some = options.under_replicated_partitions || options.unavailable_partitions;
    for topic in topics {
        let Some((data, _)) = session.try_get_data(&paths::topic(&topic)).await? else { continue };
        let assigned = TopicAssignment::parse(&paths::topic(&topic), &data)?.partitions;
        let config = read_config(session, &topic).await?;
        if options.topics_with_overrides && config.is_empty() {
            continue;
        }
        if !only_some {
            let overrides: Vec<String> = config.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let replicas = assigned.values().next().map_or(0, Vec::len);
            println!(
                "Topic:{topic}\tPartitionCount:{}\tReplicationFactor:{replicas}\tConfigs:{}",
                assigned.len(),
                overrides.join(",")
            );
        }
        if options.topics_with_overrides {
            continue;
        }
        let states = states(session, &topic, &assigned).await?;
        for ((partition, replicas), state) in assigned.iter().zip(states) {
            let leader = state.as_ref().map(|state| state.leader).filter(|leader| *leader >= 0);
            let isr = state.map(|state| state.isr).unwrap_or_default();
            let wanted = !only_some
                || (options.under_replicated_partitions && isr.len() < replicas.len())
                || (options.unavailable_partitions && !leader.is_some_and(|leader| live.contains(&leader)));
            if wanted {
                let leader = leader.map_or("none".to_owned(), |leader| leader.to_string());
                println!(
                    "\tTopic: {topic}\tPartition: {partition}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
                    id_list(replicas),
                    id_list(&isr)
                );
            }
        }
    }
    Ok(())
}

async fn alter(session: &Session, options: &Options, hosts: &str) -> Result<(), Failure> {
    let topics = existing(session, options, hosts).await?;
    for topic in topics {
        if !options.config.is_empty() || !options.delete_config.is_empty() {
            eprintln!(
                "WARNING: Altering topic configuration from this script has been deprecated and may be removed in future releases."
            );
            eprintln!("         Going forward, please use kafka-configs.sh for this functionality");
            let mut config = read_config(session, &topic).await?;
            for (name, value) in parse_configs(options)? {
                config.retain(|(key, _)| *key != name);
                config.push((name, value));
            }
            config.retain(|(key, _)| !options.delete_config.contains(key));
            write_config(session, &topic, config).await?;
            announce(session, &topic).await?;
            println!("Updated config for topic \"{topic}\".");
        }
        if let Some(partitions) = options.partitions {
            add_partitions(session, options, &topic, partitions).await?;
        }
    }
    Ok(())
}

async fn add_partitions(session: &Session, options: &Options, topic: &str, wanted: i32) -> Result<(), Failure> {
    if names::is_internal(topic) {
        return Err(Failure::verbatim("The number of partitions for the offsets topic cannot be changed."));
    }
    eprintln!(
        "WARNING: If partitions are increased for a topic that has a key, the partition logic or ordering of the messages will be affected"
    );
    let path = paths::topic(topic);
    let (data, stat) = session.get_data(&path).await?;
    let mut znode = TopicAssignment::parse(&path, &data)?;
    let before = i32::try_from(znode.partitions.len()).unwrap_or(i32::MAX);
    if wanted <= before {
        return Err(Failure::verbatim("The number of partitions for a topic can only be increased")
            .cause(format!("topic {topic} has {before} partitions"))
            .help(format!(
                "bin/kafka-topics.sh --alter --zookeeper {EXAMPLE_ZOOKEEPER} --topic {topic} --partitions {}",
                before.saturating_add(1)
            )));
    }
    let added = match &options.replica_assignment {
        Some(text) => {
            let replicas = znode.partitions.values().next().map_or(1, Vec::len);
            added_by_hand(assignment::by_hand(text, 0)?, before, wanted, replicas, &brokers(session).await?)?
        }
        None => {
            let brokers = brokers(session).await?;
            let first_replicas = znode.partitions.values().next().cloned().unwrap_or_default();
            // The new partitions go on where the old ones began, so that the spread stays even.
            let first =
                first_replicas.first().and_then(|id| brokers.iter().position(|broker| broker == id)).unwrap_or(0);
            let replicas = i32::try_from(first_replicas.len()).unwrap_or(1);
            let start = Start { first, shift: first, partition: before };
            assignment::spread(&without_racks(&brokers), wanted - before, replicas, start)?
        }
    };
    znode.partitions.extend(added);
    session.set_data(&path, znode.to_json(), stat.version).await?;
    println!("Adding partitions succeeded!");
    Ok(())
}

/// The new partitions of an assignment that names all of them, old and new.
fn added_by_hand(
    assigned: BTreeMap<i32, Vec<i32>>,
    before: i32,
    wanted: i32,
    replicas: usize,
    live: &[i32],
) -> Result<BTreeMap<i32, Vec<i32>>, Failure> {
    let added: BTreeMap<i32, Vec<i32>> = assigned.into_iter().filter(|(partition, _)| *partition >= before).collect();
    let by = wanted.saturating_sub(before);
    if i32::try_from(added.len()) != Ok(by) {
        return Err(Failure::misuse(format!(
            "Increasing the number of partitions by {by} but {} assignments provided.",
            added.len()
        ))
        .cause(format!("the topic has {before} partitions, which the assignment names first")));
    }
    let missing = missing(&added, live);
    if !missing.is_empty() {
        let specified: Vec<i32> = added.values().flatten().copied().collect();
        return Err(Failure::verbatim(format!(
            "some specified brokers not available. specified brokers: {} available broker: {}",
            id_list(&specified),
            id_list(live)
        ))
        .cause(format!("not registered under /brokers/ids: {}", id_list(&missing)))
        .help(format!("bin/zookeeper-shell.sh {EXAMPLE_ZOOKEEPER} ls /brokers/ids")));
    }
    if added.values().any(|ids| ids.len() != replicas) {
        return Err(Failure::misuse(format!(
            "The replication factor in manual replication assignment  is not equal to the existing replication factor for the topic {replicas}"
        )));
    }
    Ok(added)
}

/// Brokers of an assignment that do not live, each once.
fn missing(assigned: &BTreeMap<i32, Vec<i32>>, live: &[i32]) -> Vec<i32> {
    let wanted: std::collections::BTreeSet<i32> = assigned.values().flatten().copied().collect();
    wanted.into_iter().filter(|broker| !live.contains(broker)).collect()
}

async fn delete(session: &Session, options: &Options, hosts: &str) -> Result<(), Failure> {
    let topics = match existing(session, options, hosts).await {
        Err(_) if options.if_exists => return Ok(()),
        found => found?,
    };
    for topic in topics {
        if names::is_internal(&topic) {
            return Err(Failure::verbatim(format!(
                "Topic {topic} is a kafka internal topic and is not allowed to be marked for deletion."
            )));
        }
        let path = paths::delete_topic(&topic);
        match session.create_recursive(&path, "", CreateMode::Persistent).await {
            Ok(_) => {
                println!("Topic {topic} is marked for deletion.");
                println!("Note: This will have no impact if delete.topic.enable is not set to true.");
            }
            Err(error) if error.is_node_exists() => println!("Topic {topic} is already marked for deletion."),
            Err(error) => return Err(Failure::verbatim(format!("Error while deleting topic {topic}")).cause(error)),
        }
    }
    Ok(())
}

/// The topics that `--topic` names; none is an error.
async fn existing(session: &Session, options: &Options, hosts: &str) -> Result<Vec<String>, Failure> {
    let all = children(session, paths::BROKER_TOPICS).await?;
    let topics = chosen(options, all.clone())?;
    if !topics.is_empty() {
        return Ok(topics);
    }
    let name = options.topic.as_deref().unwrap_or_default();
    let failure = Failure::verbatim(format!("Topic {name} does not exist on ZK path {hosts}"))
        .help(format!("bin/kafka-topics.sh --list --zookeeper {EXAMPLE_ZOOKEEPER}"));
    Err(match spelling::nearest(name, all.iter().map(String::as_str)) {
        Some(near) => failure.cause(format!("did you mean \"{near}\"?")),
        None => failure,
    })
}

/// Names of a node's children; none where the node is not there.
async fn children(session: &Session, path: &str) -> Result<Vec<String>, Failure> {
    match session.get_children(path).await {
        Ok(names) => Ok(names),
        Err(error) if error.is_no_node() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Ids of the live brokers, sorted.
async fn brokers(session: &Session) -> Result<Vec<i32>, Failure> {
    let mut ids: Vec<i32> =
        children(session, paths::BROKER_IDS).await?.iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

async fn states(
    session: &Session,
    topic: &str,
    assigned: &BTreeMap<i32, Vec<i32>>,
) -> Result<Vec<Option<PartitionState>>, Failure> {
    let paths: Vec<String> = assigned.keys().map(|partition| paths::partition_state(topic, *partition)).collect();
    let found = session.read_many(&paths).await?;
    let parsed = paths
        .iter()
        .zip(found)
        .map(|(path, data)| data.map(|(data, _)| PartitionState::parse(path, &data)).transpose());
    Ok(parsed.collect::<Result<_, _>>()?)
}

async fn read_config(session: &Session, topic: &str) -> Result<Vec<(String, String)>, Failure> {
    let path = paths::topic_config(topic);
    match session.try_get_data(&path).await? {
        Some((data, _)) => Ok(EntityConfig::parse(&path, &data)?.config),
        None => Ok(Vec::new()),
    }
}

async fn write_config(session: &Session, topic: &str, config: Vec<(String, String)>) -> Result<(), Failure> {
    let path = paths::topic_config(topic);
    let data = EntityConfig::new(config).to_json();
    match session.set_data(&path, data.clone(), -1).await {
        Err(error) if error.is_no_node() => {
            session.create_recursive(&path, data, CreateMode::Persistent).await?;
            Ok(())
        }
        done => Ok(done.map(drop)?),
    }
}

/// Tells the brokers that a topic's configuration changed.
async fn announce(session: &Session, topic: &str) -> Result<(), Failure> {
    let notice = ConfigChange::topic(topic).to_json();
    session.create_recursive(&paths::config_change(), notice, CreateMode::PersistentSequential).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_added_by_hand_fit_those_that_are_there() {
        let check = |text: &str, wanted: i32| {
            added_by_hand(assignment::by_hand(text, 0).unwrap(), 2, wanted, 2, &[0, 1, 2])
                .map_err(|failure| failure.text().to_owned())
        };
        assert_eq!(check("0:1,1:2,2:0", 3).unwrap(), BTreeMap::from([(2, vec![2, 0])]));
        for (text, wanted, expected) in [
            ("0:1,1:2,2:0", 4, "Increasing the number of partitions by 2 but 1 assignments provided."),
            ("0:1,1:2", 3, "Increasing the number of partitions by 1 but 0 assignments provided."),
            ("0:1,1:2,7:0", 3, "some specified brokers not available. specified brokers: 7,0 available broker: 0,1,2"),
            (
                "0,1,2",
                3,
                "The replication factor in manual replication assignment  is not equal to the existing replication factor for the topic 2",
            ),
        ] {
            assert_eq!(check(text, wanted).unwrap_err(), expected, "{text}");
        }
    }
}
