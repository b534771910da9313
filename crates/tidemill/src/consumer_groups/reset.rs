//! `--reset-offsets`: where a group without members is to go on.
//!
//! Nothing is written without `--execute`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use client::kafka::admin::Admin;
use client::kafka::consumer::{CommittedOffset, OffsetToCommit, list_offsets};
use client::kafka::{Cluster, EXAMPLE_SERVERS, IsolationLevel, OffsetSpec};
use protocol::types::{Offset, TopicPartition};
use runtime::{Clock, Disk};

use super::{Options, groups, partitions, usage};
use crate::failure::Failure;

/// Largest file of `--from-file`.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Earliest,
    Latest,
    Current,
    Offset(i64),
    Shift(i64),
    Timestamp(i64),
    File(Vec<(Option<String>, TopicPartition, i64)>),
}

/// Runs `--reset-offsets`.
pub async fn reset(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let target = target(options, Clock::real().now_ms())?;
    let from_file = matches!(target, Target::File(_));
    if options.topic.is_empty() && !options.all_topics && !from_file {
        return Err(usage("One of the reset scopes should be defined: --all-topics, --topic."));
    }
    if !options.execute && !options.dry_run && !options.export {
        eprintln!(
            "WARN: No action will be performed as the --execute option is missing. In a future major release, the default behavior of this \
             command will be to prompt the user before executing the reset rather than doing a dry run. You should add the --dry-run option \
             explicitly if you are scripting this command and want to keep the current default behavior without prompting."
        );
    }
    let mut plan = Vec::new();
    for group in groups(admin, options).await? {
        let state = admin.describe_group(&group).await?.state;
        if state != "Empty" && state != "Dead" {
            return Err(Failure::verbatim(format!(
                "Error: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
            ))
            .cause("its consumers would go on from their own offsets")
            .help(format!(
                "bin/kafka-consumer-groups.sh --describe --members --group {group} --bootstrap-server {EXAMPLE_SERVERS}   (stop these first)"
            )));
        }
        let committed = admin.list_group_offsets(&group, None).await?;
        let mut scope = match options.all_topics {
            true => committed.keys().cloned().collect(),
            false => partitions(admin, options).await?,
        };
        scope.sort();
        let offsets = new_offsets(admin.cluster(), &target, &group, scope, &committed).await?;
        if options.execute {
            let commits: Vec<OffsetToCommit> =
                offsets.iter().map(|(partition, offset)| OffsetToCommit::new(partition.clone(), *offset)).collect();
            admin.alter_group_offsets(&group, &commits).await?;
        }
        plan.extend(offsets.into_iter().map(|(partition, offset)| (group.clone(), partition, offset)));
    }
    print!("{}", if options.export { export(options, &plan) } else { show(&plan) });
    Ok(())
}

fn target(options: &Options, now_ms: i64) -> Result<Target, Failure> {
    let mut targets = Vec::new();
    targets.extend(options.to_earliest.then_some(Target::Earliest));
    targets.extend(options.to_latest.then_some(Target::Latest));
    targets.extend(options.to_current.then_some(Target::Current));
    targets.extend(options.to_offset.map(Target::Offset));
    targets.extend(options.shift_by.map(Target::Shift));
    if let Some(text) = &options.to_datetime {
        targets.push(Target::Timestamp(datetime(text)?));
    }
    if let Some(text) = &options.by_duration {
        targets.push(Target::Timestamp(now_ms.saturating_sub(duration_ms(text)?)));
    }
    if let Some(path) = &options.from_file {
        let bytes = Disk::real().read(Path::new(path), FILE_BYTES_MAX);
        let bytes = bytes.map_err(|error| Failure::new(format!("cannot read {path}")).cause(error))?;
        targets.push(Target::File(csv(&String::from_utf8_lossy(&bytes))?));
    }
    match (targets.pop(), targets.is_empty()) {
        (Some(target), true) => Ok(target),
        _ => Err(usage(
            "Option '--reset-offsets' requires one of the following scenarios: --to-datetime, --by-duration, --to-earliest, --to-latest, --shift-by, --from-file, --to-current, --to-offset",
        )),
    }
}

/// `2026-11-22T10:00:00.000`, with a zone or in UTC.
fn datetime(text: &str) -> Result<i64, Failure> {
    let wrong = || {
        Failure::misuse(format!("Error: Unparseable date: \"{text}\"")).cause("it is written 2026-11-22T10:00:00.000")
    };
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(instant.as_millisecond());
    }
    let civil: jiff::civil::DateTime = text.parse().map_err(|_| wrong())?;
    let zoned = civil.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    Ok(zoned.timestamp().as_millisecond())
}

/// `P1DT2H3M4S`; a day has 24 hours.
fn duration_ms(text: &str) -> Result<i64, Failure> {
    let wrong = || {
        Failure::misuse(format!("Error: Text cannot be parsed to a Duration: \"{text}\""))
            .cause("it is written PT1H30M")
    };
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    i64::try_from(duration.as_millis()).map_err(|_| wrong())
}

/// Lines of `topic,partition,offset` or `group,topic,partition,offset`.
fn csv(text: &str) -> Result<Vec<(Option<String>, TopicPartition, i64)>, Failure> {
    let line = |(number, line): (usize, &str)| {
        let cells: Vec<&str> = line.split(',').map(|cell| cell.trim().trim_matches('"')).collect();
        let (group, rest) = match cells[..] {
            [group, ref rest @ ..] if cells.len() == 4 => (Some(group.to_owned()), rest),
            ref rest => (None, rest),
        };
        let read = match rest {
            [topic, partition, offset] => partition
                .parse()
                .ok()
                .zip(offset.parse().ok())
                .map(|(partition, offset)| (group, TopicPartition::new(*topic, partition), offset)),
            _ => None,
        };
        read.ok_or_else(|| Failure::new(format!("line {} is not topic,partition,offset: {line}", number + 1)))
    };
    text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()).map(line).collect()
}

/// Where each partition ends up, sorted.
async fn new_offsets(
    cluster: &Cluster,
    target: &Target,
    group: &str,
    scope: Vec<TopicPartition>,
    committed: &HashMap<TopicPartition, CommittedOffset>,
) -> Result<Vec<(TopicPartition, Offset)>, Failure> {
    let scope = match target {
        Target::File(lines) => {
            let ours = lines.iter().filter(|(name, _, _)| name.as_deref().is_none_or(|name| name == group));
            ours.map(|(_, partition, _)| partition.clone()).collect()
        }
        _ => scope,
    };
    let starts = listed(cluster, &scope, OffsetSpec::Earliest).await?;
    let ends = listed(cluster, &scope, OffsetSpec::Latest).await?;
    let found = match target {
        Target::Timestamp(time) => listed(cluster, &scope, OffsetSpec::Timestamp(*time)).await?,
        _ => HashMap::new(),
    };
    let mut offsets = Vec::with_capacity(scope.len());
    for partition in scope {
        let (start, end) = (starts.get(&partition).copied().unwrap_or(0), ends.get(&partition).copied().unwrap_or(0));
        let current = committed.get(&partition).map(|committed| committed.offset.0);
        let wished = match target {
            Target::Earliest => start,
            Target::Latest => end,
            Target::Current => current.unwrap_or(end),
            Target::Offset(offset) => *offset,
            Target::Shift(by) => {
                let Some(current) = current else {
                    return Err(Failure::verbatim(format!(
                        "Cannot shift offset for partition {partition} since there is no current committed offset"
                    )));
                };
                current.saturating_add(*by)
            }
            // No record is as young: it goes on with what comes.
            Target::Timestamp(_) => found.get(&partition).copied().unwrap_or(end),
            Target::File(lines) => {
                lines.iter().find(|(_, named, _)| *named == partition).map_or(end, |(_, _, offset)| *offset)
            }
        };
        offsets.push((partition.clone(), Offset(within(&partition, wished, start, end))));
    }
    Ok(offsets)
}

/// Never outside the log.
fn within(partition: &TopicPartition, wished: i64, start: i64, end: i64) -> i64 {
    if wished > end {
        eprintln!(
            "WARN New offset ({wished}) is higher than latest offset for topic partition {partition}. Value will be set to {end}"
        );
        end
    } else if wished < start {
        eprintln!(
            "WARN New offset ({wished}) is lower than earliest offset for topic partition {partition}. Value will be set to {start}"
        );
        start
    } else {
        wished
    }
}

async fn listed(
    cluster: &Cluster,
    scope: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<HashMap<TopicPartition, i64>, Failure> {
    let wanted: Vec<_> = scope.iter().map(|partition| (partition.clone(), spec)).collect();
    let found = list_offsets(cluster, &wanted, IsolationLevel::ReadUncommitted, cluster.default_deadline()).await;
    let mut offsets = HashMap::new();
    for (partition, result) in found {
        if let Some(listed) = result? {
            offsets.insert(partition, listed.offset.0);
        }
    }
    Ok(offsets)
}

fn show(plan: &[(String, TopicPartition, Offset)]) -> String {
    if plan.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{:<30} {:<30} {:<10} {:<15}\n", "GROUP", "TOPIC", "PARTITION", "NEW-OFFSET");
    for (group, partition, offset) in plan {
        let TopicPartition { topic, partition } = partition;
        let _ = writeln!(text, "{group:<30} {topic:<30} {partition:<10} {:<15}", offset.0);
    }
    text
}

fn export(options: &Options, plan: &[(String, TopicPartition, Offset)]) -> String {
    let with_group = options.all_groups || options.group.len() > 1;
    let mut text = String::new();
    for (group, partition, offset) in plan {
        let prefix = if with_group { format!("\"{group}\",") } else { String::new() };
        let _ = writeln!(text, "{prefix}\"{}\",{},{}", partition.topic, partition.partition, offset.0);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_unless_they_say_otherwise() {
        for (text, expected) in [
            ("1970-01-01T00:00:01.000", Some(1000)),
            ("1970-01-01T01:00:01.000+01:00", Some(1000)),
            ("1970-01-01T00:00:01Z", Some(1000)),
            ("yesterday", None),
        ] {
            assert_eq!(datetime(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_javas() {
        for (text, expected) in
            [("PT1H30M", Some(5_400_000)), ("P1D", Some(86_400_000)), ("P1DT2S", Some(86_402_000)), ("1h!", None)]
        {
            assert_eq!(duration_ms(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn files_are_read_with_and_without_groups() {
        let read = |text: &str| csv(text).ok();
        let partition = TopicPartition::new("t", 1);
        assert_eq!(read("\"t\",1,5\n"), Some(vec![(None, partition.clone(), 5)]));
        assert_eq!(read("g,t,1,5\n\n"), Some(vec![(Some("g".to_owned()), partition, 5)]));
        assert_eq!(read("t,1\n"), None);
        assert_eq!(read("t,x,5\n"), None);
    }

    #[test]
    fn an_offset_stays_within_the_log() {
        let partition = TopicPartition::new("t", 0);
        for (wished, expected) in [(5, 5), (1, 2), (99, 9), (9, 9)] {
            assert_eq!(within(&partition, wished, 2, 9), expected);
        }
    }
}
