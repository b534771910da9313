//! An operator: topics come, move and go beside the one that is written to, leaders are elected, and the cluster is looked at.

use std::collections::BTreeMap;

use client::kafka::admin::ElectionType;
use client::kafka::{Admin, ClientError, NewTopic};
use protocol::types::{BrokerId, TopicPartition};

use super::super::clients::TOPIC;
use super::join::GROUP;
use super::{Seat, Seen, api_calls};

pub(super) async fn run(seat: Seat) {
    let admin = Admin::new(seat.cluster());
    let mut topics: Vec<(String, i32)> = Vec::new();
    let mut made = 0;
    while seat.is_busy() {
        seat.pause(100, 800).await;
        match seat.random.below(8) {
            0 | 1 => {
                made += 1;
                // A name is used once: a request that comes late then takes nothing back.
                let name = format!("side-{}-{}-{made}", seat.number, seat.life);
                let partitions = 1 + seat.random.below(2) as i32;
                let replicas = 1 + seat.random.below(seat.plan.brokers as u64) as i16;
                let topic = NewTopic::new(name.clone(), Some(partitions), Some(replicas));
                if told(&seat, "createTopics", admin.create_topic(&topic)).await.is_some() {
                    seat.say(Seen::Topic(name.clone(), true));
                    topics.push((name, partitions));
                }
            }
            2 if !topics.is_empty() => {
                let (name, _) = topics.remove(seat.random.below(topics.len() as u64) as usize);
                seat.say(Seen::Topic(name.clone(), false));
                let _ = told(&seat, "deleteTopics", admin.delete_topic(&name)).await;
            }
            3 if !topics.is_empty() => {
                let (name, partitions) = &topics[seat.random.below(topics.len() as u64) as usize];
                let partition = seat.random.below(*partitions as u64) as i32;
                let replicas = shuffled(&seat, 1 + seat.random.below(seat.plan.brokers as u64) as usize);
                move_to(&seat, &admin, TopicPartition::new(name.as_str(), partition), replicas).await;
            }
            4 => {
                let partition = seat.random.below(seat.plan.partitions as u64) as i32;
                let replicas = shuffled(&seat, seat.plan.brokers);
                move_to(&seat, &admin, TopicPartition::new(TOPIC, partition), replicas).await;
            }
            5 => {
                let _ = told(&seat, "electLeaders", admin.elect_leaders(ElectionType::Preferred, None)).await;
            }
            6 => {
                let _ = told(&seat, "listTopics", admin.list_topics()).await;
            }
            _ => {
                let _ = told(&seat, "describeGroups", admin.describe_group(GROUP)).await;
            }
        }
    }
    seat.say(Seen::Done);
    std::future::pending().await
}

async fn move_to(seat: &Seat, admin: &Admin, partition: TopicPartition, replicas: Vec<BrokerId>) {
    let moves = BTreeMap::from([(partition, Some(replicas))]);
    let _ = told(seat, "alterPartitionReassignments", admin.alter_partition_reassignments(&moves)).await;
}

fn shuffled(seat: &Seat, count: usize) -> Vec<BrokerId> {
    let mut brokers: Vec<BrokerId> = (0..seat.plan.brokers as i32).map(BrokerId).collect();
    seat.random.shuffle(&mut brokers);
    brokers.truncate(count);
    brokers
}

/// Makes a call; whatever a cluster in trouble answers is an answer.
async fn told<T>(seat: &Seat, name: &'static str, call: impl Future<Output = Result<T, ClientError>>) -> Option<T> {
    match seat.call(name, api_calls(1), call).await {
        Ok(done) => Some(done),
        Err(error) => {
            seat.say(Seen::Failed(name, error.to_string()));
            None
        }
    }
}
