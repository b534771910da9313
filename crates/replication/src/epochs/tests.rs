use super::*;

fn cache(entries: &[(i32, i64)]) -> EpochCache {
    let entry = |&(epoch, start): &(i32, i64)| EpochEntry { epoch: LeaderEpoch(epoch), start_offset: Offset(start) };
    EpochCache::from_entries(entries.iter().map(entry).collect())
}

fn listed(cache: &EpochCache) -> Vec<(i32, i64)> {
    cache.entries().iter().map(|entry| (entry.epoch.0, entry.start_offset.0)).collect()
}

fn end(epoch: i32, offset: i64) -> EpochEnd {
    EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(offset) }
}

#[test]
fn assigning_keeps_both_columns_rising() {
    let check = |epoch: i32, start: i64, expected: &[(i32, i64)]| {
        let mut cache = cache(&[(1, 0), (3, 10), (5, 20)]);
        cache.assign(LeaderEpoch(epoch), Offset(start));
        assert_eq!(listed(&cache), expected, "assign {epoch} at {start}");
    };
    check(6, 30, &[(1, 0), (3, 10), (5, 20), (6, 30)]);
    check(5, 25, &[(1, 0), (3, 10), (5, 20)]);
    check(5, 15, &[(1, 0), (3, 10), (5, 15)]);
    check(6, 20, &[(1, 0), (3, 10), (6, 20)]);
    check(6, 10, &[(1, 0), (6, 10)]);
    check(4, 15, &[(1, 0), (3, 10), (4, 15)]);
    check(7, 0, &[(7, 0)]);
    check(-1, 30, &[(1, 0), (3, 10), (5, 20)]);
}

#[test]
fn an_epoch_ends_where_the_next_begins() {
    let cache = cache(&[(1, 5), (3, 10), (5, 20)]);
    let check = |requested: i32, expected: Option<EpochEnd>| {
        assert_eq!(cache.end_offset_for(LeaderEpoch(requested), Offset(33)), expected, "epoch {requested}");
    };
    check(-1, None);
    check(0, Some(end(0, 5)));
    check(1, Some(end(1, 10)));
    check(2, Some(end(1, 10)));
    check(3, Some(end(3, 20)));
    check(4, Some(end(3, 20)));
    check(5, Some(end(5, 33)));
    check(6, None);
    assert_eq!(EpochCache::new().end_offset_for(LeaderEpoch(0), Offset(9)), None);
}

#[test]
fn truncation_at_either_end_moves_the_entries() {
    let check = |cut: &dyn Fn(&mut EpochCache), expected: &[(i32, i64)]| {
        let mut cache = cache(&[(1, 5), (3, 10), (5, 20)]);
        cut(&mut cache);
        assert_eq!(listed(&cache), expected);
    };
    check(&|cache| cache.truncate_from_end(Offset(21)), &[(1, 5), (3, 10), (5, 20)]);
    check(&|cache| cache.truncate_from_end(Offset(20)), &[(1, 5), (3, 10)]);
    check(&|cache| cache.truncate_from_end(Offset(0)), &[]);
    check(&|cache| cache.truncate_from_start(Offset(4)), &[(1, 5), (3, 10), (5, 20)]);
    check(&|cache| cache.truncate_from_start(Offset(12)), &[(3, 12), (5, 20)]);
    check(&|cache| cache.truncate_from_start(Offset(20)), &[(5, 20)]);
    check(&|cache| cache.truncate_from_start(Offset(40)), &[(5, 40)]);
    assert_eq!(cache(&[(1, 5), (3, 10)]).epoch_at(Offset(9)), Some(LeaderEpoch(1)));
    assert_eq!(cache(&[(1, 5), (3, 10)]).epoch_at(Offset(4)), None);
}

#[test]
fn a_follower_cuts_to_the_end_of_the_last_shared_run() {
    let own = cache(&[(1, 0), (2, 10), (4, 20)]);
    let check = |leader: EpochEnd, offset: i64, complete: bool| {
        let cut = truncation(|epoch| own.end_offset_for(epoch, Offset(30)), Offset(30), Offset(7), leader);
        assert_eq!(cut, Truncation { offset: Offset(offset), complete }, "{leader:?}");
    };
    // The same epoch: whoever has less of it decides.
    check(end(4, 25), 25, true);
    check(end(4, 40), 30, true);
    check(end(2, 15), 15, true);
    check(end(2, 28), 20, true);
    // The leader has epoch 3, we have not: our epoch 2 is compared in the next round.
    check(end(3, 26), 20, false);
    // Newer than all of ours.
    check(end(5, 22), 22, true);
    // Leaders that keep no epochs.
    check(end(-1, 18), 18, true);
    check(end(-1, -1), 7, true);
}

#[test]
fn a_fetch_that_names_its_last_epoch_is_compared() {
    let leader = cache(&[(1, 0), (3, 10), (5, 20)]);
    let check = |last: i32, offset: i64, expected: Divergence| {
        assert_eq!(divergence(&leader, Offset(30), LeaderEpoch(last), Offset(offset)), expected, "{last} {offset}");
    };
    check(-1, 99, Divergence::None);
    check(5, 30, Divergence::None);
    check(5, 31, Divergence::At(end(5, 30)));
    check(3, 20, Divergence::None);
    check(3, 21, Divergence::At(end(3, 20)));
    check(4, 20, Divergence::At(end(3, 20)));
    check(6, 20, Divergence::Unknown);
}
