//! The `--bootstrap-server` form: the brokers are asked, in the words of 3.9.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::kafka::admin::{Admin, ConfigResource, ConfigSource, NewTopic};
use client::kafka::{ClientError, EXAMPLE_SERVERS, PartitionMetadata, TopicMetadata};
use protocol::error::ErrorCode;
use protocol::spelling;
use protocol::types::{BrokerId, TopicPartition, Uuid};

use super::{Options, chosen, names as topic_names, parse_configs};
use crate::assignment::id_list;
use crate::failure::{EXAMPLE_ZOOKEEPER, Failure};
use crate::{assignment, connect};

/// How long a description waits for a controller that does not answer.
const CONTROLLER_WAIT_MAX: Duration = Duration::from_secs(3);

/// Runs the one action of the options.
pub async fn run(options: &Options, servers: &str) -> Result<(), Failure> {
    let admin = Admin::new(connect::kafka(servers, options.command_config.as_deref()).await?);
    if options.create {
        create(&admin, options).await
    } else if options.list {
        list(&admin, options).await
    } else if options.describe {
        describe(&admin, options).await
    } else if options.alter {
        alter(&admin, options).await
    } else {
        delete(&admin, options).await
    }
}

async fn create(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let name = options.topic.as_deref().unwrap_or_default();
    let mut topic = NewTopic::new(name, options.partitions, options.replication_factor);
    topic.configs = parse_configs(options)?.into_iter().collect();
    if let Some(text) = &options.replica_assignment {
        (topic.partitions, topic.replication_factor) = (None, None);
        topic.assignments = brokers_of(assignment::by_hand(text, 0)?);
    }
    match admin.create_topic(&topic).await {
        Ok(_) => {
            println!("Created topic {name}.");
            Ok(())
        }
        Err(error) if error.code() == Some(ErrorCode::TOPIC_ALREADY_EXISTS) && options.if_not_exists => Ok(()),
        Err(error) if error.code() == Some(ErrorCode::INVALID_TOPIC_EXCEPTION) => {
            Err(Failure::from(error).help(format!(
                "bin/kafka-topics.sh --create --bootstrap-server {EXAMPLE_SERVERS} --topic {}",
                topic_names::legal(name)
            )))
        }
        Err(error) => Err(too_old(error)),
    }
}

async fn list(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let topics = chosen(options, names(&admin.list_topics().await?))?;
    for topic in &topics {
        println!("{topic}");
    }
    if topics.is_empty() {
        eprintln!("note: no topics");
    }
    Ok(())
}

async fn describe(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let all = admin.list_topics().await?;
    let wanted = match &options.topic_id {
        Some(id) => with_id(&all, id)?,
        None => existing(options, &all)?,
    };
    let live = admin.describe_cluster().await?.nodes;
    let live: Vec<BrokerId> = live.iter().map(|node| node.id).collect();
    // Brokers before 2.4 move nothing in this way, and none need be moving. The controller alone knows, and a description does not wait until there is another one.
    let moving = tokio::time::timeout(CONTROLLER_WAIT_MAX, admin.list_partition_reassignments()).await;
    let moving = moving.unwrap_or(Ok(Vec::new())).unwrap_or_default();
    for topic in all.iter().filter(|topic| wanted.iter().any(|name| **name == *topic.name)) {
        let configs = match admin.describe_configs(&ConfigResource::Topic(topic.name.to_string()), None).await {
            Ok(configs) => configs,
            // Brokers before 0.11 do not tell them.
            Err(ClientError::UnsupportedVersion { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let value = |name: &str| configs.iter().find(|config| config.name == name)?.value.clone();
        let shown: Vec<String> = configs
            .iter()
            .filter(|config| config.source != ConfigSource::Default)
            .map(|config| format!("{}={}", config.name, config.value.as_deref().unwrap_or_default()))
            .collect();
        let has_overrides = configs.iter().any(|config| config.source == ConfigSource::DynamicTopic);
        if options.topics_with_overrides && !has_overrides {
            continue;
        }
        let filter = Filter::of(options, &live, value("min.insync.replicas").and_then(|min| min.parse().ok()));
        if !filter.is_any() {
            println!("{}", header(topic, &shown));
        }
        if options.topics_with_overrides {
            continue;
        }
        for partition in topic.partitions.iter().filter(|partition| filter.wants(partition)) {
            let reassignment = moving
                .iter()
                .find(|moving| moving.partition == TopicPartition::new(topic.name.clone(), partition.partition));
            let added = reassignment.map_or(String::new(), |moving| {
                let ids = |brokers: &[BrokerId]| id_list(&brokers.iter().map(|id| id.0).collect::<Vec<_>>());
                format!("\tAdding Replicas: {}\tRemoving Replicas: {}", ids(&moving.adding), ids(&moving.removing))
            });
            println!("{}{added}\tElr: N/A\tLastKnownElr: N/A", row(&topic.name, partition));
        }
    }
    Ok(())
}

/// `Topic: T⇥TopicId: ...⇥PartitionCount: 1⇥ReplicationFactor: 1⇥Configs: ...`
fn header(topic: &TopicMetadata, configs: &[String]) -> String {
    let replicas = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    let id = if topic.id == Uuid::ZERO { String::new() } else { format!("TopicId: {}\t", topic.id) };
    format!(
        "Topic: {}\t{id}PartitionCount: {}\tReplicationFactor: {replicas}\tConfigs: {}",
        topic.name,
        topic.partitions.len(),
        configs.join(",")
    )
}

fn row(topic: &str, partition: &PartitionMetadata) -> String {
    let ids = |brokers: &[BrokerId]| id_list(&brokers.iter().map(|id| id.0).collect::<Vec<_>>());
    let leader = partition.leader.map_or("none".to_owned(), |leader| leader.0.to_string());
    let (number, replicas, isr) = (partition.partition, ids(&partition.replicas), ids(&partition.isr));
    format!("\tTopic: {topic}\tPartition: {number}\tLeader: {leader}\tReplicas: {replicas}\tIsr: {isr}")
}

/// Which partitions `--describe` is narrowed to.
struct Filter<'a> {
    under_replicated: bool,
    unavailable: bool,
    under_min_isr: bool,
    at_min_isr: bool,
    live: &'a [BrokerId],
    min_isr: usize,
}

impl<'a> Filter<'a> {
    fn of(options: &Options, live: &'a [BrokerId], min_isr: Option<usize>) -> Filter<'a> {
        Filter {
            under_replicated: options.under_replicated_partitions,
            unavailable: options.unavailable_partitions,
            under_min_isr: options.under_min_isr_partitions,
            at_min_isr: options.at_min_isr_partitions,
            live,
            min_isr: min_isr.unwrap_or(1),
        }
    }

    fn is_any(&self) -> bool {
        self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr
    }

    fn wants(&self, partition: &PartitionMetadata) -> bool {
        !self.is_any()
            || (self.under_replicated && partition.isr.len() < partition.replicas.len())
            || (self.unavailable && !partition.leader.is_some_and(|leader| self.live.contains(&leader)))
            || (self.under_min_isr && partition.isr.len() < self.min_isr)
            || (self.at_min_isr && partition.isr.len() == self.min_isr)
    }
}

async fn alter(admin: &Admin, options: &Options) -> Result<(), Failure> {
    if !options.config.is_empty() || !options.delete_config.is_empty() {
        let option = if options.config.is_empty() { "delete-config" } else { "config" };
        return Err(Failure::misuse(format!(
            "Option combination \"[bootstrap-server],[{option}]\" can't be used with option \"[alter]\" (the kafka-configs CLI supports altering topic configs with a --bootstrap-server option)"
        ))
        .help(configs_command(options)));
    }
    let Some(count) = options.partitions else {
        return Err(Failure::misuse("Missing required argument \"[partitions]\""));
    };
    let all = admin.list_topics().await?;
    for name in existing(options, &all)? {
        let before = all.iter().find(|topic| *topic.name == *name).map_or(0, |topic| topic.partitions.len());
        let assignments = match &options.replica_assignment {
            Some(text) => {
                Some(brokers_of(assignment::by_hand(text, 0)?).into_values().skip(before).collect::<Vec<_>>())
            }
            None => None,
        };
        admin.create_partitions(&name, count, assignments.as_deref()).await.map_err(too_old)?;
    }
    Ok(())
}

/// What `--alter --config` would have done.
fn configs_command(options: &Options) -> String {
    let mut changes = String::new();
    for (flag, words) in [("--add-config", &options.config), ("--delete-config", &options.delete_config)] {
        if !words.is_empty() {
            changes.push_str(&format!(" {flag} {}", words.join(",")));
        }
    }
    let topic = options.topic.as_deref().unwrap_or_default();
    format!(
        "bin/kafka-configs.sh --bootstrap-server {EXAMPLE_SERVERS} --alter --entity-type topics --entity-name {topic}{changes}"
    )
}

async fn delete(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let names = existing(options, &admin.list_topics().await?)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(());
    }
    for (_, result) in admin.delete_topics(&names).await.map_err(too_old)? {
        result.map_err(too_old)?;
    }
    Ok(())
}

/// The topics that the options name; none is an error in 3.9's words, unless `--if-exists` allows it.
fn existing(options: &Options, all: &[Arc<TopicMetadata>]) -> Result<Vec<String>, Failure> {
    let found = chosen(options, names(all))?;
    match &options.topic {
        Some(name) if found.is_empty() && !options.if_exists => {
            // "Optional[...]" is what 3.9 prints, and so what people search for.
            let failure = Failure::verbatim(format!("Topic 'Optional[{name}]' does not exist as expected"))
                .help(format!("bin/kafka-topics.sh --list --bootstrap-server {EXAMPLE_SERVERS}"));
            Err(match spelling::nearest(name, all.iter().map(|topic| &*topic.name)) {
                Some(near) => failure.cause(format!("did you mean \"{near}\"?")),
                None => failure,
            })
        }
        _ => Ok(found),
    }
}

fn with_id(all: &[Arc<TopicMetadata>], id: &str) -> Result<Vec<String>, Failure> {
    let found: Vec<String> =
        all.iter().filter(|topic| topic.id.to_string() == id).map(|topic| topic.name.to_string()).collect();
    if found.is_empty() {
        return Err(Failure::verbatim(format!("TopicId '{id}' does not exist as expected")));
    }
    Ok(found)
}

fn names(all: &[Arc<TopicMetadata>]) -> Vec<String> {
    all.iter().map(|topic| topic.name.to_string()).collect()
}

fn brokers_of(assignments: BTreeMap<i32, Vec<i32>>) -> BTreeMap<i32, Vec<BrokerId>> {
    let brokers = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    assignments.into_iter().map(|(partition, ids)| (partition, brokers(ids))).collect()
}

/// Brokers before 0.10.1 leave topics to ZooKeeper.
fn too_old(error: ClientError) -> Failure {
    let is_too_old = matches!(error, ClientError::UnsupportedVersion { .. });
    let failure = Failure::from(error);
    if is_too_old {
        failure.help(format!("bin/kafka-topics.sh --list --zookeeper {EXAMPLE_ZOOKEEPER}"))
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use protocol::types::LeaderEpoch;
    use runtime::Clock;

    use super::*;

    fn partition(leader: Option<i32>, replicas: &[i32], isr: &[i32]) -> PartitionMetadata {
        let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
        PartitionMetadata {
            partition: 0,
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch::NONE,
            replicas: brokers(replicas),
            isr: brokers(isr),
            offline_replicas: Vec::new(),
            error: ErrorCode::NONE,
        }
    }

    #[tokio::test]
    async fn a_description_reads_as_in_3_9() {
        let topic = TopicMetadata {
            name: Arc::from("t"),
            id: Uuid::ZERO,
            is_internal: false,
            error: ErrorCode::NONE,
            partitions: vec![partition(None, &[1, 2], &[2])],
            fetched_at: Clock::real().now(),
        };
        assert_eq!(
            header(&topic, &["a=1".to_owned(), "b=2".to_owned()]),
            "Topic: t\tPartitionCount: 1\tReplicationFactor: 2\tConfigs: a=1,b=2"
        );
        assert_eq!(row("t", &topic.partitions[0]), "\tTopic: t\tPartition: 0\tLeader: none\tReplicas: 1,2\tIsr: 2");
    }

    #[test]
    fn partitions_in_trouble_are_found() {
        let live = [BrokerId(1)];
        let check = |narrow: fn(&mut Filter<'_>), partition: &PartitionMetadata, expected: bool| {
            let mut filter = Filter {
                under_replicated: false,
                unavailable: false,
                under_min_isr: false,
                at_min_isr: false,
                live: &live,
                min_isr: 2,
            };
            narrow(&mut filter);
            assert_eq!(filter.wants(partition), expected, "{partition:?}");
        };
        let sound = partition(Some(1), &[1, 2], &[1, 2]);
        let thin = partition(Some(1), &[1, 2], &[1]);
        let dead = partition(Some(2), &[2], &[2]);
        check(|_| {}, &sound, true);
        check(|filter| filter.under_replicated = true, &sound, false);
        check(|filter| filter.under_replicated = true, &thin, true);
        check(|filter| filter.unavailable = true, &dead, true);
        check(|filter| filter.unavailable = true, &thin, false);
        check(|filter| filter.under_min_isr = true, &thin, true);
        check(|filter| filter.at_min_isr = true, &sound, true);
    }
}
