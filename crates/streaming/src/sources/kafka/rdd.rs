//! An RDD of offset ranges: a partition each. Its tasks fetch; nothing is kept, so a second action fetches again.

use std::sync::Arc;

use client::kafka::FetchedBlock;

use crate::error::{Step, StreamingError};
use crate::rdd::{Rdd, RddOp, Sink};
use crate::scheduler::stages::Dependency;
use crate::scheduler::{SparkContext, TaskContext};
use crate::sources::kafka::cluster::KafkaCluster;
use crate::sources::kafka::fetched::FetchedBlocks;
use crate::sources::kafka::{OffsetRange, Record};

struct KafkaRdd {
    cluster: KafkaCluster,
    ranges: Arc<[OffsetRange]>,
}

impl RddOp<Record> for KafkaRdd {
    fn partitions(&self) -> usize {
        self.ranges.len()
    }

    fn dependencies(&self) -> Vec<Dependency> {
        Vec::new()
    }

    fn run(&self, partition: usize, task: &TaskContext, sink: Sink<'_, Record>) -> Step {
        self.push_records(partition, task, sink)
    }
}

impl FetchedBlocks for KafkaRdd {
    fn push_blocks(&self, partition: usize, task: &TaskContext, sink: &mut dyn FnMut(&FetchedBlock) -> Step) -> Step {
        let range = &self.ranges[partition];
        if range.count() == 0 { Ok(()) } else { self.cluster.read(range, task, sink) }
    }
}

/// The records of these ranges, a partition each (Spark's `KafkaUtils.createRDD`). `params` are Kafka's: `metadata.broker.list` or
/// `bootstrap.servers` is needed.
///
/// # Errors
/// Parameters that cannot be used, a range that ends before it begins. Whether the broker still has the records shows when they are read.
pub fn create_rdd(
    spark: &SparkContext,
    params: &[(String, String)],
    ranges: Vec<OffsetRange>,
) -> Result<Rdd<Record>, StreamingError> {
    if let Some(range) = ranges.iter().find(|range| range.from_offset < 0 || range.until_offset < range.from_offset) {
        return Err(StreamingError::invalid(format!("{range} is no range")));
    }
    Ok(of_ranges(spark, KafkaCluster::new(spark, params)?, ranges))
}

pub(crate) fn of_ranges(spark: &SparkContext, cluster: KafkaCluster, ranges: Vec<OffsetRange>) -> Rdd<Record> {
    let ranges: Arc<[OffsetRange]> = ranges.into();
    Rdd::of_fetched(spark, KafkaRdd { cluster, ranges: ranges.clone() }, ranges)
}
