//! A member of the consumer group. It commits by itself what it has read, or has the library do so.

use std::sync::Arc;
use std::time::Duration;

use client::kafka::consumer::RebalanceListener;
use client::kafka::consumer::group::BoxFuture;
use client::kafka::consumer::{GroupConsumer, OffsetToCommit};
use client::kafka::{ConsumerConfig, OffsetReset, Strategy};
use protocol::types::{Offset, TopicPartition};

use super::super::clients::TOPIC;
use super::super::plan::Mischief;
use super::read::{POLL, consumer, tell};
use super::{API, REQUEST, Seat, Seen, api_calls};

/// The group of a run.
pub const GROUP: &str = "g";
/// `session.timeout.ms`.
const SESSION: Duration = Duration::from_millis(2_500);
/// `max.poll.interval.ms`: longer than any call between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(15);

/// Tells of rebalances.
struct Listener(Seat);

impl RebalanceListener for Listener {
    fn on_partitions_revoked<'a>(
        &'a self,
        consumer: &'a GroupConsumer,
        _partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a> {
        Box::pin(async move {
            if self.0.plan.clients.commits && self.0.random.below(2) == 0 {
                commit(&self.0, consumer).await;
            }
            self.0.say(Seen::Revoked);
        })
    }

    fn on_partitions_assigned<'a>(
        &'a self,
        consumer: &'a GroupConsumer,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a> {
        let position = |partition: &TopicPartition| consumer.consumer().position(partition).map(|offset| offset.0);
        let from = partitions.iter().map(|partition| (partition.partition, position(partition))).collect();
        self.0.say(Seen::Assigned(consumer.member().generation, from));
        Box::pin(std::future::ready(()))
    }

    fn on_partitions_lost<'a>(
        &'a self,
        _consumer: &'a GroupConsumer,
        _partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a> {
        self.0.say(Seen::Revoked);
        Box::pin(std::future::ready(()))
    }
}

pub(super) async fn run(seat: Seat) {
    let clients = &seat.plan.clients;
    let config = ConsumerConfig {
        group_id: Some(GROUP.to_owned()),
        session_timeout: SESSION,
        heartbeat_interval: SESSION / 5,
        max_poll_interval: POLL_INTERVAL,
        enable_auto_commit: !clients.commits,
        auto_commit_interval: Duration::from_millis(400),
        auto_offset_reset: OffsetReset::Earliest,
        assignment_strategies: vec![if clients.sticky { Strategy::Sticky } else { Strategy::Range }],
        ..consumer(&seat)
    };
    let member = match GroupConsumer::new(seat.cluster(), config) {
        Ok(member) => member.with_listener(Arc::new(Listener(seat.clone()))),
        Err(error) => return seat.failed("a member", &error),
    };
    member.subscribe([TOPIC]);
    while !seat.is_closing() {
        // Inside a poll the partitions are given back, with a commit of the library's or of ours, and taken over.
        match seat.call("poll of a member", POLL + api_calls(4), member.poll(POLL)).await {
            Ok(blocks) => {
                tell(&seat, &blocks);
                if clients.commits && (!blocks.is_empty() || seat.random.below(20) == 0) {
                    commit(&seat, &member).await;
                }
            }
            Err(error) => {
                seat.failed("poll of a member", &error);
                seat.pause(10, 50).await;
            }
        }
        seat.pause(1, 20).await;
    }
    if let Err(error) = seat.call("closing a member", API + REQUEST, member.close(API)).await {
        seat.failed("closing a member", &error);
    }
    seat.say(Seen::Done);
    std::future::pending().await
}

async fn commit(seat: &Seat, member: &GroupConsumer) {
    let ahead = i64::from(seat.plan.mischief == Mischief::CommitAhead) * 2;
    let offsets: Vec<(i32, i64)> = member
        .consumer()
        .positions()
        .into_iter()
        .map(|(partition, offset)| (partition.partition, offset.0 + ahead))
        .collect();
    if offsets.is_empty() {
        return;
    }
    let to_commit: Vec<OffsetToCommit> = offsets
        .iter()
        .map(|(partition, offset)| OffsetToCommit::new(TopicPartition::new(TOPIC, *partition), Offset(*offset)))
        .collect();
    let generation = member.member().generation;
    seat.say(Seen::Committing(generation, offsets.clone()));
    match seat.call("commit", api_calls(1), member.commit(&to_commit)).await {
        Ok(()) => seat.say(Seen::Committed(generation, offsets)),
        Err(error) => seat.failed("commit", &error),
    }
}
