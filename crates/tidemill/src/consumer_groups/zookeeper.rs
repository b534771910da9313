//! The `--zookeeper` form: groups that keep their members and offsets in ZooKeeper, in the words of 0.9.0.1.

use std::io::Write as _;

use client::zookeeper::{Session, paths};
use client::zookeeper_consumer::group;

use super::{Options, usage};
use crate::connect;
use crate::consumer_offset_checker::{self, Row};
use crate::failure::Failure;

/// Runs the one action of the options.
pub async fn run(options: &Options, hosts: &str) -> Result<(), Failure> {
    let needs_group = options.describe || (options.delete && options.topic.is_empty());
    if needs_group && options.group.is_empty() {
        return Err(usage("Missing required argument \"[group]\""));
    }
    let session = connect::zookeeper(hosts).await?;
    let done = if options.list {
        list(&session).await
    } else if options.describe {
        describe(&session, options).await
    } else if options.delete {
        delete(&session, options).await
    } else {
        Err(usage("Groups in ZooKeeper can be listed, described and deleted"))
    };
    session.close().await;
    done
}

async fn list(session: &Session) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for group in group::list(session).await? {
        writeln!(out, "{group}")?;
    }
    Ok(())
}

async fn describe(session: &Session, options: &Options) -> Result<(), Failure> {
    let cluster = connect::kafka_of(session).await?;
    let mut missing = None;
    for group in &options.group {
        let rows = consumer_offset_checker::rows(session, &cluster, group).await?;
        let mut out = std::io::stdout().lock();
        if rows.is_empty() {
            writeln!(out, "No topic available for consumer group provided")?;
            missing = Some(group);
        }
        writeln!(out, "GROUP, TOPIC, PARTITION, CURRENT OFFSET, LOG END OFFSET, LAG, OWNER")?;
        for row in rows {
            writeln!(out, "{}", line(group, &row))?;
        }
    }
    match missing {
        Some(group) => Err(consumer_offset_checker::never_here(session, group).await),
        None => Ok(()),
    }
}

fn line(group: &str, row: &Row) -> String {
    let number = |number: Option<i64>| number.map_or("unknown".to_owned(), |number| number.to_string());
    let (offset, end) = (number(row.offset.map(|offset| offset.0)), number(row.end.map(|end| end.0)));
    let owner = row.owner.as_deref().unwrap_or("none");
    let (topic, partition) = (&row.partition.topic, row.partition.partition);
    format!("{group}, {topic}, {partition}, {offset}, {end}, {}, {owner}", number(row.lag()))
}

/// Groups, a topic of groups, or a topic of all groups.
async fn delete(session: &Session, options: &Options) -> Result<(), Failure> {
    let mut failed = false;
    let groups = if options.group.is_empty() { group::list(session).await? } else { options.group.clone() };
    for group in &groups {
        let topics: Vec<&str> = options.topic.iter().map(String::as_str).collect();
        failed |= !delete_one(session, group, &topics, !options.group.is_empty()).await?;
    }
    if failed { Err(Failure::silent(1)) } else { Ok(()) }
}

async fn delete_one(session: &Session, group: &str, topics: &[&str], was_named: bool) -> Result<bool, Failure> {
    if session.exists(&paths::consumer_group(group)).await?.is_none() {
        eprintln!("Delete for group {group} failed because group does not exist.");
        return Ok(false);
    }
    if !group::members(session, group).await?.is_empty() {
        let what = if topics.is_empty() { String::new() } else { format!(" topic {}", topics.join(",")) };
        eprintln!("Delete for group {group}{what} failed because its consumers are still active.");
        return Ok(false);
    }
    if topics.is_empty() {
        group::delete(session, group).await?;
        println!("Deleted all consumer group information for group {group} in zookeeper.");
        return Ok(true);
    }
    for topic in topics {
        let offsets = paths::consumer_topic_offsets(group, topic);
        if session.exists(&offsets).await?.is_none() {
            if was_named {
                eprintln!("Delete for group {group} topic {topic} failed because topic does not exist for the group.");
                return Ok(false);
            }
            continue;
        }
        session.delete_recursive(&offsets).await?;
        session.delete_recursive(&paths::consumer_owners(group, topic)).await?;
        println!("Deleted consumer group information for group {group} topic {topic} in zookeeper.");
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use protocol::types::{Offset, TopicPartition};

    use super::*;

    #[test]
    fn a_row_reads_as_in_0_9() {
        let partition = TopicPartition::new("t", 0);
        let row = Row { partition, offset: Some(Offset(1)), end: Some(Offset(3)), owner: None };
        assert_eq!(line("g1", &row), "g1, t, 0, 1, 3, 2, none");
    }
}
