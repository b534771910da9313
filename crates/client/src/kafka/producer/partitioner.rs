//! Which partition a record goes to: the one it names, else by its key as Kafka's Java clients do, else by turns.

use protocol::types::BrokerId;
use runtime::Random;

use super::super::cluster::TopicMetadata;
use super::super::error::{ClientError, Result};

/// Partition of a record with this key among `count` partitions (Kafka `BuiltInPartitioner.partitionForKey`): the same key always gives the
/// same one, from any Kafka client.
#[must_use]
pub fn partition_for_key(key: &[u8], count: i32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % count.max(1) as u32) as i32
}

/// MurmurHash 2 with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * index);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

/// The turn of records without key in one topic: they stay with a partition for `batch.size` bytes (KIP-794), so that batches fill, and then
/// go to another one by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sticky {
    partition: i32,
    bytes: usize,
}

impl Sticky {
    /// The partition for a record of `bytes`, in a topic as `topic` says. Partitions without a leader are passed over while others have one.
    pub(super) fn next(
        turn: Option<Sticky>,
        topic: &TopicMetadata,
        bytes: usize,
        batch_size: usize,
        random: Random,
    ) -> (i32, Sticky) {
        let stays = turn.filter(|turn| turn.bytes < batch_size && leader_of(topic, turn.partition).is_some());
        let turn = stays.unwrap_or_else(|| {
            let led: Vec<i32> = topic
                .partitions
                .iter()
                .filter(|candidate| candidate.leader.is_some())
                // Not the same one again where there is a choice.
                .filter(|candidate| turn.is_none_or(|turn| turn.partition != candidate.partition))
                .map(|candidate| candidate.partition)
                .collect();
            let partition = match led.len() {
                0 => turn.map_or(0, |turn| turn.partition),
                count => led[random.below(count as u64) as usize],
            };
            Sticky { partition, bytes: 0 }
        });
        (turn.partition, Sticky { partition: turn.partition, bytes: turn.bytes + bytes })
    }
}

fn leader_of(topic: &TopicMetadata, partition: i32) -> Option<BrokerId> {
    topic.partitions.iter().find(|candidate| candidate.partition == partition)?.leader
}

/// Checks a partition that the caller named.
pub(super) fn explicit(partition: i32, topic: &TopicMetadata) -> Result<i32> {
    if topic.partitions.iter().any(|candidate| candidate.partition == partition) {
        Ok(partition)
    } else {
        Err(ClientError::InvalidPartition { partition, count: topic.partitions.len() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::error::ErrorCode;
    use protocol::types::{LeaderEpoch, Uuid};
    use runtime::Clock;

    use super::super::super::cluster::PartitionMetadata;
    use super::*;

    #[test]
    fn murmur2_is_kafkas() {
        // Vectors of Kafka's own `UtilsTest.testMurmur2`.
        fn check(text: &str, expected: i32) {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text:?}");
        }
        check("21", -973_932_308);
        check("foobar", -790_332_482);
        check("a-little-bit-long-string", -985_981_536);
        check("a-little-bit-longer-string", -1_486_304_829);
        check("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971);
        check("abc", 479_470_107);
    }

    fn topic(leaders: &[Option<i32>]) -> TopicMetadata {
        let partition = |(partition, leader): (usize, &Option<i32>)| PartitionMetadata {
            partition: partition as i32,
            leader: leader.map(BrokerId),
            leader_epoch: LeaderEpoch::NONE,
            replicas: Vec::new(),
            isr: Vec::new(),
            offline_replicas: Vec::new(),
            error: ErrorCode::NONE,
        };
        TopicMetadata {
            name: Arc::from("t"),
            id: Uuid::ZERO,
            is_internal: false,
            error: ErrorCode::NONE,
            partitions: leaders.iter().enumerate().map(partition).collect(),
            fetched_at: Clock::real().now(),
        }
    }

    #[test]
    fn records_without_key_stay_until_the_batch_is_full_and_then_move() {
        let topic = topic(&[Some(0), Some(0)]);
        let (first, turn) = Sticky::next(None, &topic, 60, 100, Random::real());
        let (second, turn) = Sticky::next(Some(turn), &topic, 60, 100, Random::real());
        assert_eq!(first, second);
        let (third, _) = Sticky::next(Some(turn), &topic, 60, 100, Random::real());
        assert_ne!(third, first);
    }

    #[test]
    fn partitions_without_leader_are_passed_over() {
        let topic = topic(&[None, Some(0), None]);
        for _ in 0..20 {
            assert_eq!(Sticky::next(None, &topic, 1, 100, Random::real()).0, 1);
        }
    }

    #[test]
    fn a_partition_that_does_not_exist_is_refused_with_kafkas_text() {
        let error = explicit(3, &topic(&[Some(0), Some(0)])).unwrap_err();
        assert_eq!(error.to_string(), "Invalid partition given with record: 3 is not in the range [0...2).");
    }
}
