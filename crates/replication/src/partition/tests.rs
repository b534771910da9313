use super::*;
use crate::effect::IsrProposal;

const NOW: i64 = 1_000_000;
const LAG: i64 = 30_000;

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn live(brokers: &[i32]) -> Arc<LiveBrokers> {
    Arc::new(brokers.iter().map(|id| (BrokerId(*id), BrokerEpoch(i64::from(*id)))).collect())
}

fn state(leader: i32, epoch: i32, version: i32, isr: &[i32]) -> LeaderAndIsr {
    LeaderAndIsr {
        leader_epoch: LeaderEpoch(epoch),
        partition_epoch: version,
        ..LeaderAndIsr::new(BrokerId(leader), ids(isr))
    }
}

fn opened(log_end: i64, high_watermark: i64) -> OpenedLog {
    let (log_end, high_watermark) = (Offset(log_end), Offset(high_watermark));
    OpenedLog { log_end, durable: log_end, high_watermark, clean: true }
}

/// Broker 1 leading in epoch 1, version 1, with `isr` out of `assignment`.
fn leader(assignment: &[i32], isr: &[i32], min: usize, flush: FlushBeforeAck) -> Partition {
    let config = PartitionConfig { min_insync_replicas: min, replica_lag_time_ms_max: LAG, flush_before_ack: flush };
    let mut partition = Partition::new(BrokerId(1), ids(assignment), config, opened(0, 0));
    let _ = partition.on_live_brokers(live(assignment), NOW);
    let effects = partition.on_state(&state(1, 1, 1, isr), NOW);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::BecomeLeader { .. })));
    partition
}

fn fetch(partition: &mut Partition, replica: i32, offset: i64, now: i64) -> Vec<Effect> {
    let fetch =
        FollowerFetch { replica: BrokerId(replica), broker_epoch: None, offset: Offset(offset), log_start: None };
    partition.on_follower_fetch(&fetch, now).unwrap().into_iter().collect()
}

fn append(partition: &mut Partition, log_end: i64) -> Vec<Effect> {
    partition.on_append(Offset(log_end), NOW).into_iter().collect()
}

fn proposal(version: i32, isr: &[i32]) -> Effect {
    let isr = ids(isr);
    Effect::ProposeIsr(IsrProposal {
        leader_epoch: LeaderEpoch(1),
        expected_partition_epoch: version,
        isr,
        elr: Vec::new(),
        last_known_elr: Vec::new(),
    })
}

fn advance(offset: i64) -> Effect {
    Effect::AdvanceHighWatermark(Offset(offset))
}

fn ack(partition: &Partition, required: i64) -> AckState {
    partition.ack_state(LeaderEpoch(1), Offset(required))
}

/// What a leader in doubt answers acks=1 by: neither `min.insync.replicas` nor the high watermark counts, only that each replica in sync has fetched past it.
#[test]
fn who_is_in_sync_has_what_was_fetched_past() {
    let state = |partition: &Partition, required| partition.in_sync_state(LeaderEpoch(1), Offset(required));
    let mut partition = leader(&[1, 2, 3], &[1, 2, 3], 2, FlushBeforeAck::Always);
    let _ = append(&mut partition, 5);
    let waits = AckState::Pending { needs_flush: false };
    assert_eq!(state(&partition, 5), waits, "nobody has fetched yet");
    let _ = fetch(&mut partition, 2, 5, NOW);
    assert_eq!(state(&partition, 5), waits);
    let _ = fetch(&mut partition, 3, 4, NOW);
    assert_eq!((state(&partition, 4), state(&partition, 5)), (AckState::Ok, waits));
    let _ = fetch(&mut partition, 3, 5, NOW);
    assert_eq!(state(&partition, 5), AckState::Ok);
    assert_eq!(partition.in_sync_state(LeaderEpoch(0), Offset(5)), AckState::NotLeader);

    let mut alone = leader(&[1, 2], &[1], 2, FlushBeforeAck::Auto);
    let _ = append(&mut alone, 5);
    assert_eq!(state(&alone, 5), AckState::Ok, "nobody else may lead");
}

#[test]
fn the_low_watermark_waits_for_every_living_replica() {
    let mut partition = leader(&[1, 2, 3], &[1, 2, 3], 1, FlushBeforeAck::Never);
    let _ = append(&mut partition, 9);
    let fetch = |partition: &mut Partition, replica, start| {
        let fetch = FollowerFetch {
            replica: BrokerId(replica),
            broker_epoch: None,
            offset: Offset(9),
            log_start: Some(Offset(start)),
        };
        partition.on_follower_fetch(&fetch, NOW).unwrap().iter().any(|effect| *effect == Effect::CheckAcks)
    };
    assert!(fetch(&mut partition, 2, 0));
    assert_eq!(partition.low_watermark(Offset(7)), None, "one has not told yet");
    assert!(fetch(&mut partition, 3, 7));
    assert_eq!(partition.low_watermark(Offset(7)), Some(Offset(0)));
    assert!(!fetch(&mut partition, 2, 0), "no news");
    assert!(fetch(&mut partition, 2, 6), "whoever waits looks again");
    assert_eq!(partition.low_watermark(Offset(7)), Some(Offset(6)));
    let _ = partition.on_live_brokers(live(&[1, 3]), NOW);
    assert_eq!(partition.low_watermark(Offset(7)), Some(Offset(7)), "a dead one is not waited for");
}

#[test]
fn a_lone_leader_commits_what_it_appends() {
    let mut partition = leader(&[1], &[1], 1, FlushBeforeAck::Never);
    assert_eq!(append(&mut partition, 5), [advance(5)]);
    assert_eq!(ack(&partition, 5), AckState::Ok);
    assert_eq!(ack(&partition, 6), AckState::Pending { needs_flush: false });
}

#[test]
fn a_lone_leader_flushes_before_it_acknowledges() {
    let mut partition = leader(&[1], &[1], 1, FlushBeforeAck::Auto);
    // The high watermark does not wait for the disk.
    assert_eq!(append(&mut partition, 5), [advance(5)]);
    assert_eq!(ack(&partition, 5), AckState::Pending { needs_flush: true });
    assert!(partition.on_flushed(Offset(4)).iter().eq([&Effect::CheckAcks]));
    assert_eq!(ack(&partition, 5), AckState::Pending { needs_flush: true });
    assert_eq!(ack(&partition, 4), AckState::Ok);
    let _ = partition.on_flushed(Offset(5));
    assert_eq!(ack(&partition, 5), AckState::Ok);
    // A slower flush of less changes nothing.
    assert!(partition.on_flushed(Offset(3)).is_empty());
    assert_eq!(partition.durable(), Offset(5));
}

#[test]
fn who_is_in_sync_when_the_answer_is_decided_counts() {
    let check = |flush, isr: &[i32], expected| {
        let mut partition = leader(&[1, 2], isr, 1, flush);
        let _ = append(&mut partition, 5);
        if isr.contains(&2) {
            let _ = fetch(&mut partition, 2, 5, NOW);
        }
        assert_eq!(ack(&partition, 5), expected, "{flush:?} {isr:?}");
    };
    check(FlushBeforeAck::Auto, &[1, 2], AckState::Ok);
    check(FlushBeforeAck::Auto, &[1], AckState::Pending { needs_flush: true });
    check(FlushBeforeAck::Always, &[1, 2], AckState::Pending { needs_flush: true });
    check(FlushBeforeAck::Always, &[1], AckState::Pending { needs_flush: true });
    check(FlushBeforeAck::Never, &[1], AckState::Ok);
}

#[test]
fn the_high_watermark_waits_for_the_slowest_in_sync() {
    let mut partition = leader(&[1, 2, 3], &[1, 2, 3], 2, FlushBeforeAck::Auto);
    assert_eq!(append(&mut partition, 10), []);
    assert_eq!(fetch(&mut partition, 2, 10, NOW), []);
    assert_eq!(fetch(&mut partition, 3, 4, NOW), [advance(4)]);
    assert_eq!(ack(&partition, 4), AckState::Ok);
    assert_eq!(ack(&partition, 10), AckState::Pending { needs_flush: false });
    assert_eq!(fetch(&mut partition, 3, 10, NOW), [advance(10)]);
    assert_eq!(ack(&partition, 10), AckState::Ok);
}

#[test]
fn too_few_in_sync_refuse_appends_and_hold_the_high_watermark() {
    let mut partition = leader(&[1, 2], &[1], 2, FlushBeforeAck::Never);
    let refused = partition.check_append(true).unwrap_err();
    assert_eq!(refused, ReplicationError::NotEnoughReplicas { in_sync: 1, min: 2 });
    assert_eq!(refused.error_code().code(), 19);
    assert_eq!(partition.check_append(false), Ok(LeaderEpoch(1)));
    assert_eq!(append(&mut partition, 3), []);
    // A minimum above the number of replicas counts as that number.
    let mut lone = leader(&[1], &[1], 3, FlushBeforeAck::Never);
    assert_eq!(lone.check_append(true), Ok(LeaderEpoch(1)));
    assert_eq!(append(&mut lone, 3), [advance(3)]);
}

#[test]
fn an_isr_that_shrank_after_the_commit_gives_error_20() {
    let mut partition = leader(&[1, 2], &[1, 2], 2, FlushBeforeAck::Never);
    let _ = append(&mut partition, 3);
    assert_eq!(fetch(&mut partition, 2, 3, NOW), [advance(3)]);
    let _ = partition.on_state(&state(1, 1, 2, &[1]), NOW);
    assert_eq!(ack(&partition, 3), AckState::NotEnoughReplicasAfterAppend);
}

#[test]
fn a_follower_joins_when_it_has_all_that_is_committed() {
    let mut partition = leader(&[1, 2], &[1], 1, FlushBeforeAck::Auto);
    assert_eq!(append(&mut partition, 10), [advance(10)]);
    assert_eq!(fetch(&mut partition, 2, 9, NOW), []);
    assert_eq!(fetch(&mut partition, 2, 10, NOW), [proposal(1, &[1, 2])]);
    // It counts at once, and nothing else is proposed meanwhile.
    assert_eq!(append(&mut partition, 12), []);
    assert_eq!(fetch(&mut partition, 2, 10, NOW), []);
    assert_eq!(fetch(&mut partition, 2, 11, NOW), [advance(11)]);
    // But one page cache is still no safety.
    assert_eq!(ack(&partition, 11), AckState::Pending { needs_flush: true });
    let accepted = partition.on_isr_update(LeaderEpoch(1), IsrUpdate::Accepted { partition_epoch: 2 }, NOW);
    assert!(accepted.iter().eq([&Effect::CheckAcks]));
    assert_eq!(ack(&partition, 11), AckState::Ok);
    assert_eq!(partition.leadership().unwrap().isr(), ids(&[1, 2]));
}

#[test]
fn a_follower_that_is_about_to_join_is_waited_for() {
    let mut partition = leader(&[1, 2], &[1], 1, FlushBeforeAck::Never);
    let _ = append(&mut partition, 10);
    let _ = fetch(&mut partition, 2, 10, NOW);
    let _ = partition.on_isr_update(LeaderEpoch(1), IsrUpdate::NotWritten, NOW);
    assert_eq!(append(&mut partition, 12), []);
    // Until it falls silent.
    assert!(partition.on_tick(NOW + LAG).is_empty());
    assert!(partition.on_tick(NOW + LAG + 1).iter().eq([&advance(12)]));
}

#[test]
fn strangers_the_dead_and_earlier_lives_do_not_join() {
    let mut partition = leader(&[1, 2], &[1], 1, FlushBeforeAck::Never);
    let mut try_fetch = |replica, broker_epoch: Option<i64>, offset| {
        let broker_epoch = broker_epoch.map(BrokerEpoch);
        let fetch = FollowerFetch { replica: BrokerId(replica), broker_epoch, offset: Offset(offset), log_start: None };
        partition.on_follower_fetch(&fetch, NOW).map(|effects| effects.into_iter().count())
    };
    assert_eq!(try_fetch(3, None, 0), Err(ReplicationError::UnknownReplica(BrokerId(3))));
    let stale = ReplicationError::StaleBrokerEpoch { replica: BrokerId(2), requested: 1, registered: 2 };
    assert_eq!(try_fetch(2, Some(1), 0), Err(stale));
    let beyond = ReplicationError::OffsetBeyondLogEnd { offset: Offset(1), log_end: Offset(0) };
    assert_eq!(try_fetch(2, Some(2), 1), Err(beyond));
    // A life we have not heard of yet may fetch but not join.
    assert_eq!(try_fetch(2, Some(3), 0), Ok(0));
    assert_eq!(try_fetch(2, Some(2), 0), Ok(1));
    let mut partition = leader(&[1, 2], &[1], 1, FlushBeforeAck::Never);
    let _ = partition.on_live_brokers(live(&[1]), NOW);
    assert_eq!(fetch(&mut partition, 2, 0, NOW), []);
}

#[test]
fn a_silent_follower_leaves_once_the_store_agrees() {
    let mut partition = leader(&[1, 2, 3], &[1, 2, 3], 1, FlushBeforeAck::Never);
    let _ = append(&mut partition, 10);
    let _ = fetch(&mut partition, 2, 10, NOW);
    let _ = fetch(&mut partition, 3, 4, NOW);
    assert!(partition.on_tick(NOW + LAG).is_empty());
    assert!(partition.on_tick(NOW + LAG + 1).iter().eq([&proposal(1, &[1, 2])]));
    // The smaller ISR does not count before it is accepted.
    assert_eq!(partition.high_watermark(), Offset(4));
    let late = NOW + LAG + 2;
    let accepted = partition.on_isr_update(LeaderEpoch(1), IsrUpdate::Accepted { partition_epoch: 2 }, late);
    assert!(accepted.iter().eq([&advance(10), &Effect::CheckAcks]));
}

#[test]
fn whoever_leaves_an_isr_below_the_minimum_stays_eligible_and_nothing_is_committed_without_them() {
    let mut partition = leader(&[1, 2, 3], &[1, 2, 3], 2, FlushBeforeAck::Never);
    let _ = append(&mut partition, 10);
    let _ = fetch(&mut partition, 2, 6, NOW);
    let _ = fetch(&mut partition, 3, 4, NOW);
    let Some(Effect::ProposeIsr(alone)) = partition.on_tick(NOW + LAG + 1).into_iter().next() else { panic!() };
    assert_eq!((alone.isr, alone.elr), (ids(&[1]), ids(&[2, 3])));
    let late = NOW + LAG + 2;
    let _ = partition.on_isr_update(LeaderEpoch(1), IsrUpdate::Accepted { partition_epoch: 2 }, late);
    assert_eq!(partition.high_watermark(), Offset(4));
    // Fewer replicas are enough now, but the eligible are still named in the store: until they are not, one of them may be elected.
    let one = PartitionConfig {
        min_insync_replicas: 1,
        replica_lag_time_ms_max: LAG,
        flush_before_ack: FlushBeforeAck::Never,
    };
    let _ = partition.on_config(one, late);
    assert_eq!(partition.high_watermark(), Offset(4));
    let _ = partition.on_state(&state(1, 1, 3, &[1]), late);
    assert_eq!(partition.high_watermark(), Offset(10));
}

#[test]
fn a_follower_that_lacks_committed_records_is_not_eligible() {
    let mut partition = leader(&[1, 2], &[1, 2], 2, FlushBeforeAck::Never);
    let _ = append(&mut partition, 10);
    assert_eq!(fetch(&mut partition, 2, 10, NOW), [advance(10)]);
    let effects = fetch(&mut partition, 2, 3, NOW);
    let [Effect::ProposeIsr(shrunk)] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((&shrunk.isr, &shrunk.elr, &shrunk.last_known_elr), (&ids(&[1]), &ids(&[]), &ids(&[2])));
}

#[test]
fn a_follower_of_an_idle_partition_has_its_full_time_from_the_first_append() {
    let mut partition = leader(&[1, 2], &[1, 2], 1, FlushBeforeAck::Never);
    fetch(&mut partition, 2, 0, NOW);
    // Nothing comes for an hour, and a session does not fetch again what has no news.
    let later = NOW + 3_600_000;
    assert!(partition.on_append(Offset(5), later).is_empty());
    assert!(partition.on_tick(later + LAG).is_empty());
    assert!(!partition.on_tick(later + LAG + 1).is_empty());
}

#[test]
fn a_follower_that_keeps_up_with_the_past_is_in_sync() {
    let mut partition = leader(&[1, 2], &[1, 2], 1, FlushBeforeAck::Never);
    // Each fetch reaches what was the log end at the fetch before: never equal, never behind.
    for round in 1..10 {
        let now = NOW + round * 20_000;
        let _ = append(&mut partition, round * 10);
        let _ = fetch(&mut partition, 2, (round - 1) * 10, now);
        assert!(partition.on_tick(now).is_empty(), "round {round}");
    }
}

#[test]
fn a_replica_that_lost_committed_records_leaves_at_once() {
    let mut partition = leader(&[1, 2], &[1, 2], 1, FlushBeforeAck::Never);
    let _ = append(&mut partition, 10);
    assert_eq!(fetch(&mut partition, 2, 10, NOW), [advance(10)]);
    assert_eq!(fetch(&mut partition, 2, 7, NOW), [proposal(1, &[1])]);
    assert_eq!(partition.high_watermark(), Offset(10));
    assert_eq!(ack(&partition, 10), AckState::Pending { needs_flush: false });
    let _ = partition.on_isr_update(LeaderEpoch(1), IsrUpdate::Accepted { partition_epoch: 2 }, NOW);
    assert_eq!(ack(&partition, 10), AckState::Ok);
}

#[test]
fn a_lost_answer_keeps_the_larger_isr_until_the_znode_was_read() {
    let mut partition = leader(&[1, 2], &[1], 1, FlushBeforeAck::Never);
    assert_eq!(fetch(&mut partition, 2, 0, NOW), [proposal(1, &[1, 2])]);
    let unknown = partition.on_isr_update(LeaderEpoch(1), IsrUpdate::Unknown, NOW);
    assert!(unknown.iter().eq([&Effect::RereadState]));
    assert_eq!(append(&mut partition, 5), []);
    // Still the old version: the same is written again, for the first write may yet land.
    assert!(partition.on_state(&state(1, 1, 1, &[1]), NOW).iter().eq([&proposal(1, &[1, 2])]));
    assert_eq!(append(&mut partition, 6), []);
    // It had landed.
    let conflict = partition.on_isr_update(LeaderEpoch(1), IsrUpdate::VersionConflict, NOW);
    assert!(conflict.iter().eq([&Effect::RereadState]));
    let _ = partition.on_state(&state(1, 1, 2, &[1, 2]), NOW);
    assert_eq!(partition.leadership().unwrap().isr(), ids(&[1, 2]));
    assert!(!partition.leadership().unwrap().has_change_in_flight());
    assert_eq!(fetch(&mut partition, 2, 6, NOW), [advance(6)]);
    // An answer that comes late changes nothing.
    assert!(partition.on_isr_update(LeaderEpoch(1), IsrUpdate::Accepted { partition_epoch: 2 }, NOW).is_empty());
}

#[test]
fn a_new_leader_commits_only_after_hearing_from_its_isr() {
    let mut partition = Partition::new(
        BrokerId(1),
        ids(&[1, 2]),
        PartitionConfig { min_insync_replicas: 2, ..PartitionConfig::default() },
        opened(10, 6),
    );
    let _ = partition.on_live_brokers(live(&[1, 2]), NOW);
    let effects = partition.on_state(&state(1, 4, 9, &[2, 1]), NOW);
    let lead = Effect::BecomeLeader { leader_epoch: LeaderEpoch(4), start_offset: Offset(10) };
    assert!(effects.iter().eq([&lead, &Effect::CheckAcks]));
    assert_eq!(partition.high_watermark(), Offset(6));
    assert_eq!(fetch(&mut partition, 2, 8, NOW), [advance(8)]);
}

#[test]
fn a_replica_that_does_not_reach_into_the_epoch_may_not_join() {
    let config = PartitionConfig::default();
    let mut partition = Partition::new(BrokerId(1), ids(&[1, 2]), config, opened(10, 4));
    let _ = partition.on_live_brokers(live(&[1, 2, 3]), NOW);
    let _ = partition.on_assignment(ids(&[1, 2, 3]), NOW);
    let _ = partition.on_state(&state(1, 4, 9, &[1, 3]), NOW);
    assert_eq!(fetch(&mut partition, 2, 9, NOW), []);
    let joins = |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::ProposeIsr(_)));
    assert!(joins(&fetch(&mut partition, 2, 10, NOW)));
}

#[test]
fn old_news_is_ignored_and_new_leaders_are_obeyed() {
    let mut partition = leader(&[1, 2], &[1, 2], 1, FlushBeforeAck::Never);
    let _ = append(&mut partition, 5);
    assert!(partition.on_state(&state(2, 0, 0, &[2]), NOW).is_empty());
    assert!(partition.on_state(&state(2, 1, 2, &[2]), NOW).is_empty(), "two leaders in one epoch");
    assert!(partition.is_leader());
    let effects = partition.on_state(&state(2, 2, 3, &[2]), NOW);
    let follow = Effect::BecomeFollower { leader: BrokerId(2), leader_epoch: LeaderEpoch(2) };
    assert!(effects.iter().eq([&follow, &Effect::CheckAcks]));
    assert_eq!(ack(&partition, 5), AckState::NotLeader);
    assert_eq!(partition.check_append(false), Err(ReplicationError::NotLeader));
    assert!(partition.on_state(&state(2, 2, 4, &[2, 1]), NOW).is_empty(), "still the same leader");
    assert!(partition.on_state(&state(-1, 3, 5, &[2]), NOW).iter().eq([&Effect::BecomeOffline]));
}

#[test]
fn acks_survive_a_new_epoch_of_the_same_leader_only() {
    let mut partition = leader(&[1, 2], &[1, 2], 1, FlushBeforeAck::Never);
    let _ = append(&mut partition, 5);
    let _ = partition.on_state(&state(1, 2, 2, &[1, 2]), NOW);
    assert_eq!(ack(&partition, 5), AckState::Pending { needs_flush: false });
    assert_eq!(fetch(&mut partition, 2, 5, NOW), [advance(5)]);
    assert_eq!(ack(&partition, 5), AckState::Ok);
    let _ = partition.on_state(&state(2, 3, 3, &[1, 2]), NOW);
    let _ = partition.on_state(&state(1, 4, 4, &[1, 2]), NOW);
    assert_eq!(ack(&partition, 5), AckState::NotLeader);
}

#[test]
fn an_unclean_start_leads_in_a_new_epoch_only() {
    let unclean = OpenedLog { clean: false, ..opened(10, 6) };
    let mut partition = Partition::new(BrokerId(1), ids(&[1]), PartitionConfig::default(), unclean);
    let raised = Effect::RaiseLeaderEpoch(state(1, 5, 9, &[1]));
    assert!(partition.on_state(&state(1, 4, 9, &[1]), NOW).iter().eq([&raised]));
    assert!(!partition.is_leader());
    let _ = partition.on_state(&state(1, 5, 10, &[1]), NOW);
    assert!(partition.is_leader());
    assert_eq!(partition.high_watermark(), Offset(10));
}

#[test]
fn epochs_of_clients_are_compared() {
    let partition = leader(&[1], &[1], 1, FlushBeforeAck::Never);
    let check = |epoch: i32, code: i16| {
        let result = partition.check_leader_epoch(LeaderEpoch(epoch));
        assert_eq!(result.map_or_else(|error| error.error_code().code(), |()| 0), code, "epoch {epoch}");
    };
    check(-1, 0);
    check(0, 74);
    check(1, 0);
    check(2, 75);
}

#[test]
fn a_follower_takes_its_high_watermark_from_the_leader() {
    let config = PartitionConfig { flush_before_ack: FlushBeforeAck::Always, ..PartitionConfig::default() };
    let mut partition = Partition::new(BrokerId(2), ids(&[1, 2]), config, opened(10, 30));
    assert_eq!(partition.high_watermark(), Offset(10), "a checkpoint beyond the log is cut to it");
    assert!(!partition.on_truncate(Offset(10)));
    let _ = partition.on_state(&state(1, 1, 1, &[1, 2]), NOW);
    let _ = partition.on_append(Offset(15), NOW);
    assert!(partition.must_flush_before_fetch());
    let _ = partition.on_flushed(Offset(15));
    assert!(!partition.must_flush_before_fetch());
    assert!(partition.on_leader_high_watermark(LeaderEpoch(1), Offset(20)).iter().eq([&advance(15)]));
    assert!(partition.on_leader_high_watermark(LeaderEpoch(1), Offset(12)).is_empty());
    assert!(partition.on_leader_high_watermark(LeaderEpoch(0), Offset(20)).is_empty());
    assert!(partition.on_truncate(Offset(8)), "records below the high watermark are gone");
    assert_eq!((partition.high_watermark(), partition.durable()), (Offset(8), Offset(8)));
}
