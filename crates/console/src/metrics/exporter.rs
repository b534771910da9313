//! A broker under the names of kafka_exporter, on which Grafana's dashboard 7589 is built.
//!
//! kafka_exporter looks at a whole cluster from one place. Here each broker tells what it leads and coordinates, and the controller tells what belongs to the cluster, so that
//! sums over all brokers are what kafka_exporter would say.

use std::collections::{BTreeMap, HashMap};

use broker::status::{Figures, Replica};

use crate::exposition::{Exposition, Kind};

/// A gauge of a partition: its name, what it shows, and how to read it.
type PartitionMetric = (&'static str, &'static str, fn(&Replica) -> f64);

/// Writes a broker's figures.
pub fn write(out: &mut Exposition, figures: &Figures) {
    if figures.is_controller {
        let cluster = &figures.cluster;
        out.gauge("kafka_brokers", "Registered brokers.", cluster.brokers.len() as f64);
        let mut family = out.family("kafka_broker_info", Kind::Gauge, "1, with a broker's id and address.");
        cluster.brokers.iter().for_each(|(id, address)| family.sample(&[("id", id), ("address", address)], 1.0));
        let mut family = out.family("kafka_topic_partitions", Kind::Gauge, "Partitions of a topic.");
        cluster.topics.iter().for_each(|(topic, count)| family.sample(&[("topic", topic)], *count as f64));
    }
    let yes = |value: bool| f64::from(u8::from(value));
    let metrics: [PartitionMetric; 7] = [
        ("current_offset", "Where consumers of a partition may read up to.", |of| of.high_watermark as f64),
        ("oldest_offset", "First offset of a partition.", |of| of.log_start as f64),
        ("replicas", "Replicas of a partition.", |of| of.replicas.len() as f64),
        ("in_sync_replica", "Replicas of a partition that are in sync.", |of| of.isr.len() as f64),
        ("leader", "Id of the broker that leads a partition.", |of| of.leader.map_or(-1.0, f64::from)),
        ("leader_is_preferred", "Whether the preferred replica leads.", |of| {
            f64::from(u8::from(of.leader.is_some() && of.leader == of.replicas.first().copied()))
        }),
        ("under_replicated_partition", "Whether a replica is missing from the ISR.", |of| {
            f64::from(u8::from(of.is_under_replicated()))
        }),
    ];
    let led = || figures.partitions.iter().filter(|replica| replica.is_leader);
    for (name, help, read) in metrics {
        let name = format!("kafka_topic_partition_{name}");
        let mut family = out.family(&name, Kind::Gauge, help);
        for of in led() {
            family.sample(&[("topic", &of.topic), ("partition", &of.partition)], read(of));
        }
    }
    write_groups(out, figures);
    out.gauge(
        "tidemill_consumergroup_offsets_left_out",
        "Whether there are more committed offsets than are told here.",
        yes(figures.groups.iter().any(|group| group.offsets.len() < group.offsets_total)),
    );
}

/// One topic's offsets of one group: their sum, and the sum of what is left to read where that is known.
#[derive(Default)]
struct Sums {
    offset: i64,
    lag: Option<i64>,
}

fn write_groups(out: &mut Exposition, figures: &Figures) {
    let ends: HashMap<(&str, i32), i64> = figures
        .partitions
        .iter()
        .filter(|replica| replica.is_leader)
        .map(|replica| ((&*replica.topic, replica.partition), replica.high_watermark))
        .collect();
    let mut family = out.family("kafka_consumergroup_members", Kind::Gauge, "Members of a group.");
    figures.groups.iter().for_each(|group| family.sample(&[("consumergroup", &group.id)], group.members as f64));
    let mut sums: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    let mut family =
        out.family("kafka_consumergroup_current_offset", Kind::Gauge, "Offset that a group has committed.");
    for group in &figures.groups {
        for (topic, partition, offset) in &group.offsets {
            family.sample(&[("consumergroup", &group.id), ("topic", topic), ("partition", partition)], *offset as f64);
            sums.entry((&group.id, topic)).or_default().offset += offset;
        }
    }
    let mut family = out.family(
        "kafka_consumergroup_lag",
        Kind::Gauge,
        "Records that a group has not read yet, of partitions led by its coordinator.",
    );
    for group in &figures.groups {
        for (topic, partition, offset) in &group.offsets {
            let Some(end) = ends.get(&(&**topic, *partition)) else { continue };
            let lag = (end - offset).max(0);
            family.sample(&[("consumergroup", &group.id), ("topic", topic), ("partition", partition)], lag as f64);
            *sums.entry((&group.id, topic)).or_default().lag.get_or_insert_default() += lag;
        }
    }
    let mut family =
        out.family("kafka_consumergroup_current_offset_sum", Kind::Gauge, "Offsets of a group, summed over a topic.");
    for ((group, topic), sums) in &sums {
        family.sample(&[("consumergroup", group), ("topic", topic)], sums.offset as f64);
    }
    let mut family = out.family(
        "kafka_consumergroup_lag_sum",
        Kind::Gauge,
        "Records that a group has not read yet, summed over a topic.",
    );
    for ((group, topic), sums) in &sums {
        if let Some(lag) = sums.lag {
            family.sample(&[("consumergroup", group), ("topic", topic)], lag as f64);
        }
    }
}
