//! A broker under the names that Prometheus' JMX exporter gives Kafka's MBeans with its rule file `kafka-2_0_0.yml`: in small letters, `PerSec` as a counter `_total`, histograms
//! as quantiles and `_count`. Here they come with a `_sum` too, in milliseconds, and quantiles are of the last minute or two.

use std::time::Duration;

use broker::Monitor;
use broker::metrics::TopicCounts;
use broker::status::{CleanerStatus, Figures, LogDirState, Replica};
use runtime::DurationsSnapshot;

use crate::board::Board;
use crate::exposition::{Exposition, Family, Kind, Labels};

/// The quantiles of Kafka's histograms.
const QUANTILES: [&str; 6] = ["0.50", "0.75", "0.95", "0.98", "0.99", "0.999"];

/// Writes how far the broker's life is: known before anything else.
pub fn write_phase(out: &mut Exposition, monitor: &Monitor) {
    out.gauge(
        "kafka_server_kafkaserver_brokerstate",
        "0 not running, 1 starting, 2 recovering its logs, 3 running, 7 shutting down.",
        f64::from(monitor.phase() as u8),
    );
    let recovered = monitor.recovered();
    out.gauge("tidemill_recovery_logs", "Logs to load at the start.", recovered.logs as f64);
    out.gauge("tidemill_recovery_logs_loaded", "Of these, those that are loaded.", recovered.logs_loaded as f64);
    out.counter(
        "tidemill_recovery_checked_bytes_total",
        "Bytes whose checksums were computed at the start.",
        recovered.bytes_checked as f64,
    );
}

/// Writes a broker's figures.
pub fn write(out: &mut Exposition, board: &Board, figures: &Figures) {
    write_topics(out, figures);
    write_requests(out, board, figures);
    write_replicas(out, figures);
    write_logs(out, board, figures);
    if let Some(cleaner) = &figures.cleaner {
        write_cleaner(out, cleaner);
    }
    write_groups(out, figures);
    write_zookeeper(out, figures);
    let mut info = out.family("tidemill_broker_info", Kind::Gauge, "1, with the broker's id and the cluster's.");
    info.sample(&[("broker", &figures.id), ("cluster", &figures.cluster_id)], 1.0);
}

/// A counter of Kafka's `BrokerTopicMetrics`: its name, what it counts, and how to read it.
type TopicMetric = (&'static str, &'static str, fn(&TopicCounts) -> u64);

fn write_topics(out: &mut Exposition, figures: &Figures) {
    let metrics: [TopicMetric; 10] = [
        ("messagesin", "Records appended.", |counts| counts.messages_in),
        ("bytesin", "Bytes of the batches appended.", |counts| counts.bytes_in),
        ("bytesout", "Bytes sent to consumers.", |counts| counts.bytes_out),
        ("replicationbytesin", "Bytes fetched from leaders.", |counts| counts.replication_bytes_in),
        ("replicationbytesout", "Bytes sent to followers.", |counts| counts.replication_bytes_out),
        ("bytesrejected", "Bytes refused because they were too many.", |counts| counts.bytes_rejected),
        ("totalproducerequests", "Appends to a partition.", |counts| counts.total_produce_requests),
        ("failedproducerequests", "Appends to a partition that were refused.", |counts| counts.failed_produce_requests),
        ("totalfetchrequests", "Partitions answered to a fetch.", |counts| counts.total_fetch_requests),
        ("failedfetchrequests", "Partitions answered to a fetch with an error.", |counts| counts.failed_fetch_requests),
    ];
    for (name, help, read) in metrics {
        let name = format!("kafka_server_brokertopicmetrics_{name}_total");
        let help = format!("{help} Without a label: of all topics, those that are gone included.");
        let mut family = out.family(&name, Kind::Counter, &help);
        family.sample(&[], read(&figures.all_topics) as f64);
        for (topic, counts) in &figures.topics {
            family.sample(&[("topic", topic)], read(counts) as f64);
        }
    }
}

fn write_requests(out: &mut Exposition, board: &Board, figures: &Figures) {
    let mut family =
        out.family("kafka_network_requestmetrics_requests_total", Kind::Counter, "Requests by API and version.");
    for counts in &figures.requests {
        for (version, count) in &counts.requests {
            family.sample(&[("request", &counts.api.name()), ("version", version)], *count as f64);
        }
    }
    let mut family = out.family(
        "kafka_network_requestmetrics_errors_total",
        Kind::Counter,
        "Partitions of Produce and Fetch requests answered with an error, by its name.",
    );
    for counts in &figures.requests {
        for (code, count) in &counts.errors {
            family.sample(&[("request", &counts.api.name()), ("error", &code.name())], *count as f64);
        }
    }
    let mut family = out.family(
        "kafka_network_requestmetrics_totaltimems",
        Kind::Summary,
        "From the whole request to its response being ready to be sent, in milliseconds; waiting for records or acks counts.",
    );
    for counts in &figures.requests {
        let name = counts.api.name();
        write_durations(&mut family, board, name, &[("request", &name)], &counts.took);
    }
    out.counter(
        "tidemill_requests_refused_total",
        "Requests that could not be served, so that their connection was closed.",
        figures.refused_requests as f64,
    );
    let mut family =
        out.family("kafka_server_socketservermetrics_connection_count", Kind::Gauge, "Open connections by listener.");
    figures.listeners.iter().for_each(|of| family.sample(&[("listener", &of.listener)], of.open as f64));
    let mut family = out.family(
        "kafka_server_socketservermetrics_connection_creation_total",
        Kind::Counter,
        "Connections accepted, by listener.",
    );
    figures.listeners.iter().for_each(|of| family.sample(&[("listener", &of.listener)], of.accepted as f64));
    let mut family = out.family(
        "tidemill_connections_turned_away_total",
        Kind::Counter,
        "Connections closed at once because there were too many, by listener.",
    );
    figures.listeners.iter().for_each(|of| family.sample(&[("listener", &of.listener)], of.turned_away as f64));
    out.gauge(
        "kafka_server_fetchsessioncache_numincrementalfetchsessions",
        "Fetch sessions.",
        figures.fetch_sessions as f64,
    );
}

fn write_replicas(out: &mut Exposition, figures: &Figures) {
    let count = |is: fn(&Replica) -> bool| figures.partitions.iter().filter(|replica| is(replica)).count() as f64;
    let gauges = [
        ("partitioncount", "Partitions held here.", figures.partitions.len() as f64),
        ("leadercount", "Partitions led here.", count(|replica| replica.is_leader)),
        (
            "underreplicatedpartitions",
            "Partitions led here whose ISR lacks a replica.",
            count(Replica::is_under_replicated),
        ),
        (
            "underminisrpartitioncount",
            "Partitions led here whose ISR is below min.insync.replicas.",
            count(|replica| replica.is_leader && replica.isr.len() < replica.min_isr),
        ),
        (
            "atminisrpartitioncount",
            "Partitions led here whose ISR is just min.insync.replicas.",
            count(|replica| replica.is_leader && replica.isr.len() == replica.min_isr),
        ),
        ("offlinereplicacount", "Partitions held here whose log cannot be used.", count(|replica| replica.is_offline)),
    ];
    for (name, help, value) in gauges {
        out.gauge(&format!("kafka_server_replicamanager_{name}"), help, value);
    }
    let counters = [
        ("isrshrinks", "ISRs that lost a replica.", figures.isr_shrinks),
        ("isrexpands", "ISRs that got a replica back.", figures.isr_expands),
        ("failedisrupdates", "ISR changes that were not written.", figures.failed_isr_updates),
    ];
    for (name, help, value) in counters {
        out.counter(&format!("kafka_server_replicamanager_{name}_total"), help, value as f64);
    }
    // Kafka's other brokers say 0: only the controller counts.
    let (cluster, controls) = (&figures.cluster, f64::from(u8::from(figures.is_controller)));
    let gauges = [
        ("activecontrollercount", "1 on the controller, 0 elsewhere.", 1.0),
        ("activebrokercount", "Registered brokers, as the controller counts them.", cluster.brokers.len() as f64),
        ("globaltopiccount", "Topics of the cluster, as the controller counts them.", cluster.topics.len() as f64),
        (
            "globalpartitioncount",
            "Partitions of the cluster, as the controller counts them.",
            cluster.topics.values().sum::<usize>() as f64,
        ),
        (
            "offlinepartitionscount",
            "Partitions without a live leader, as the controller counts them.",
            cluster.offline_partitions as f64,
        ),
        (
            "preferredreplicaimbalancecount",
            "Partitions not led by their preferred replica, as the controller counts them.",
            cluster.preferred_imbalance as f64,
        ),
    ];
    for (name, help, value) in gauges {
        out.gauge(&format!("kafka_controller_kafkacontroller_{name}"), help, value * controls);
    }
}

fn write_logs(out: &mut Exposition, board: &Board, figures: &Figures) {
    /// A gauge of Kafka's `Log`: its name, what it shows, and how to read it.
    type LogMetric = (&'static str, &'static str, fn(&Replica) -> f64);
    let metrics: [LogMetric; 4] = [
        ("size", "Bytes of a log on disk.", |replica| replica.size_bytes as f64),
        ("numlogsegments", "Segments of a log.", |replica| replica.segments as f64),
        ("logstartoffset", "First offset of a log.", |replica| replica.log_start as f64),
        ("logendoffset", "Offset that the next record of a log gets.", |replica| replica.log_end as f64),
    ];
    for (name, help, read) in metrics {
        let name = format!("kafka_log_log_{name}");
        let mut family = out.family(&name, Kind::Gauge, help);
        for replica in &figures.partitions {
            family.sample(&[("topic", &replica.topic), ("partition", &replica.partition)], read(replica));
        }
    }
    let mut family = out.family(
        "kafka_log_logflushstats_logflushrateandtimems",
        Kind::Summary,
        "How long syncs of logs took, in milliseconds.",
    );
    write_durations(&mut family, board, "log flush", &[], &figures.flushes);
    let dirs = &figures.health.log_dirs;
    let offline = dirs.iter().filter(|dir| dir.state == LogDirState::Offline).count();
    out.gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that failed.", offline as f64);
    let mut family = out.family(
        "tidemill_log_dir_takes_appends",
        Kind::Gauge,
        "Whether records can be written in a log directory: 0 while it is full or offline.",
    );
    for dir in dirs {
        family.sample(&[("dir", &dir.path.display())], f64::from(u8::from(dir.takes_appends())));
    }
    let mut family = out.family(
        "tidemill_log_dir_free_bytes",
        Kind::Gauge,
        "Bytes that may still be written in the file system of a log directory.",
    );
    for dir in dirs {
        if let Some(free) = dir.free_bytes {
            family.sample(&[("dir", &dir.path.display())], free as f64);
        }
    }
}

/// Of each thread's last pass, as Kafka's beans have it, and of all passes.
fn write_cleaner(out: &mut Exposition, cleaner: &CleanerStatus) {
    let gauges = [
        (
            "logcleanermanager_max_dirty_percent",
            "Dirty share of the dirtiest compacted log.",
            100.0 * cleaner.dirtiest_ratio,
        ),
        (
            "logcleanermanager_time_since_last_run_ms",
            "Time since a log to compact was last looked for, in milliseconds.",
            cleaner.since_last_run.as_secs_f64() * 1e3,
        ),
        (
            "logcleaner_cleaner_recopy_percent",
            "Share of what the last passes read that they wrote again.",
            100.0 * cleaner.recopy_ratio(),
        ),
        ("logcleaner_max_clean_time_secs", "The longest of the last passes.", cleaner.longest_pass().as_secs_f64()),
        (
            "logcleaner_max_buffer_utilization_percent",
            "Share of its map that one of the last passes used at most.",
            100.0 * cleaner.map_utilization_max(),
        ),
        (
            "logcleaner_max_compaction_delay_secs",
            "By how much the most urgent log is beyond max.compaction.lag.ms.",
            cleaner.overdue_ms_max as f64 / 1e3,
        ),
        ("logcleaner_deadthreadcount", "Threads of the cleaner that have ended.", cleaner.dead_threads as f64),
    ];
    for (name, help, value) in gauges {
        out.gauge(&format!("kafka_log_{name}"), help, value);
    }
    let by_dir = cleaner.uncleanable_in.iter();
    let mut family = out.family(
        "kafka_log_logcleanermanager_uncleanable_partitions_count",
        Kind::Gauge,
        "Logs of a log directory that cannot be compacted until a restart.",
    );
    by_dir.clone().for_each(|(dir, of)| family.sample(&[("logDirectory", &dir.display())], of.partitions as f64));
    let mut family = out.family(
        "kafka_log_logcleanermanager_uncleanable_bytes",
        Kind::Gauge,
        "Bytes of these logs that a pass would be about.",
    );
    by_dir.for_each(|(dir, of)| family.sample(&[("logDirectory", &dir.display())], of.bytes as f64));
    let counters = [
        ("passes", "Passes of the cleaner that ended well.", cleaner.passes),
        ("read_bytes", "Bytes read by them.", cleaner.bytes_read),
        ("written_bytes", "Bytes written by them.", cleaner.bytes_written),
        ("dropped_records", "Records dropped by them.", cleaner.records_dropped),
    ];
    for (name, help, value) in counters {
        out.counter(&format!("tidemill_cleaner_{name}_total"), help, value as f64);
    }
}

fn write_groups(out: &mut Exposition, figures: &Figures) {
    let in_state = |name: &str| figures.groups.iter().filter(|group| group.state.name() == name).count() as f64;
    let offsets: usize = figures.groups.iter().map(|group| group.offsets_total).sum();
    let gauges = [
        ("numgroups", "Groups coordinated here.", figures.groups.len() as f64),
        ("numgroupsempty", "Groups without members.", in_state("Empty")),
        ("numgroupspreparingrebalance", "Groups whose members are joining.", in_state("PreparingRebalance")),
        ("numgroupscompletingrebalance", "Groups that wait for their assignment.", in_state("CompletingRebalance")),
        ("numgroupsstable", "Groups at work.", in_state("Stable")),
        ("numgroupsdead", "Groups that are about to go.", in_state("Dead")),
        ("numoffsets", "Offsets that groups have committed.", offsets as f64),
    ];
    for (name, help, value) in gauges {
        out.gauge(&format!("kafka_coordinator_group_groupmetadatamanager_{name}"), help, value);
    }
}

fn write_zookeeper(out: &mut Exposition, figures: &Figures) {
    let Some(zookeeper) = figures.health.zookeeper else { return };
    let connected = u64::from(figures.health.is_heard);
    let counters = [
        ("zookeeperexpires", "ZooKeeper sessions that expired.", zookeeper.expiries),
        ("zookeepersyncconnects", "Connections made to ZooKeeper.", zookeeper.connections),
    ];
    for (name, help, value) in counters {
        out.counter(&format!("kafka_server_sessionexpirelistener_{name}_total"), help, value as f64);
    }
    out.gauge(
        "tidemill_zookeeper_connected",
        "Whether the session is connected and ZooKeeper was heard within its timeout.",
        connected as f64,
    );
    out.gauge(
        "tidemill_broker_registered",
        "Whether the broker stands in /brokers/ids.",
        f64::from(u8::from(figures.health.is_registered)),
    );
}

/// Quantiles of the last minute or two; `_sum` and `_count` of all time.
fn write_durations(family: &mut Family<'_>, board: &Board, key: &str, labels: Labels<'_>, counted: &DurationsSnapshot) {
    let recent = board.windows.lock().recent(key, counted, board.process.clock.now());
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    for name in QUANTILES {
        let quantile = name.parse().unwrap_or_default();
        let labels = [labels, &[("quantile", &name)]].concat();
        // A summary without observations says NaN, as Prometheus' own libraries do.
        family.sample(&labels, recent.quantile(quantile).map_or(f64::NAN, ms));
    }
    family.sample_of("_sum", labels, ms(counted.sum()));
    family.sample_of("_count", labels, counted.count() as f64);
}
