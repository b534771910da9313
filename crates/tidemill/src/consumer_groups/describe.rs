//! `--list` and `--describe`, in 3.9's tables.

use std::collections::BTreeMap;
use std::io::Write as _;

use client::kafka::admin::{Admin, GroupDescription, GroupMemberDescription};
use client::kafka::consumer::list_offsets;
use client::kafka::{ClientError, EXAMPLE_SERVERS, IsolationLevel, OffsetSpec};
use protocol::error::ErrorCode;
use protocol::spelling;
use protocol::types::TopicPartition;

use super::{Options, groups, is_of_consumers, table};
use crate::failure::Failure;

/// `--list`.
pub async fn list(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let found = admin.list_groups().await?;
    let found = found.into_iter().filter(is_of_consumers);
    let mut out = std::io::stdout().lock();
    let Some(states) = &options.state else {
        for group in found {
            writeln!(out, "{}", group.group)?;
        }
        return Ok(());
    };
    let wanted: Vec<String> =
        states.split(',').map(|state| state.trim().to_ascii_lowercase()).filter(|state| !state.is_empty()).collect();
    let mut rows = vec![vec!["GROUP".to_owned(), "STATE".to_owned()]];
    let fits = |state: &str| wanted.is_empty() || wanted.contains(&state.to_ascii_lowercase());
    rows.extend(found.filter(|group| fits(&group.state)).map(|group| vec![group.group, group.state]));
    out.write_all(table(&[15], &rows).as_bytes())?;
    Ok(())
}

/// `--describe`.
pub async fn describe(admin: &Admin, options: &Options) -> Result<(), Failure> {
    let mut failed = false;
    for group in groups(admin, options).await? {
        let described = match admin.describe_group(&group).await {
            // Brokers of 0.9 forget a group with its last member and keep its offsets.
            Ok(described) if described.state == "Dead" && !admin.list_group_offsets(&group, None).await?.is_empty() => {
                GroupDescription { state: "Empty".to_owned(), ..described }
            }
            Ok(described) => described,
            // Brokers of 3.9 know no such group as Dead, later ones by a code.
            Err(error) if error.code() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => {
                failed = true;
                say_missing(admin, options, &group).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        if described.state == "Dead" {
            failed = true;
            say_missing(admin, options, &group).await;
            continue;
        }
        say_state(&described);
        let text = if options.members {
            // A group without members has no table.
            if described.members.is_empty() { continue } else { members(&described, options.verbose) }
        } else if options.state.is_some() {
            state(admin, &described)
        } else {
            offsets(admin, &described).await?
        };
        let mut out = std::io::stdout().lock();
        write!(out, "\n{text}")?;
    }
    if failed { Err(Failure::silent(1)) } else { Ok(()) }
}

/// Says that a group is not there: on stdout, as Kafka's tool does; what else helps on stderr.
async fn say_missing(admin: &Admin, options: &Options, name: &str) {
    println!("\nError: Consumer group '{name}' does not exist.");
    let all = admin.list_groups().await.unwrap_or_default();
    if let Some(near) = spelling::nearest(name, all.iter().map(|group| group.group.as_str())) {
        eprintln!("cause: did you mean \"{near}\"?");
    }
    let servers = options.bootstrap_server.as_deref().unwrap_or(EXAMPLE_SERVERS);
    eprintln!("help: bin/kafka-consumer-groups.sh --list --bootstrap-server {servers}");
}

/// Says what is unusual about a group.
fn say_state(group: &GroupDescription) {
    let name = &group.group;
    match group.state.as_str() {
        "Empty" => eprintln!("\nConsumer group '{name}' has no active members."),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            eprintln!("\nWarning: Consumer group '{name}' is rebalancing.");
        }
        _ => {}
    }
}

async fn offsets(admin: &Admin, group: &GroupDescription) -> Result<String, Failure> {
    let committed = admin.list_group_offsets(&group.group, None).await?;
    let mut readers: BTreeMap<TopicPartition, Option<&GroupMemberDescription>> =
        committed.keys().map(|partition| (partition.clone(), None)).collect();
    for member in &group.members {
        readers.extend(member.assignment.iter().map(|partition| (partition.clone(), Some(member))));
    }
    let wanted: Vec<_> = readers.keys().map(|partition| (partition.clone(), OffsetSpec::Latest)).collect();
    let cluster = admin.cluster();
    let ends = list_offsets(cluster, &wanted, IsolationLevel::ReadUncommitted, cluster.default_deadline()).await;
    let mut rows = vec![
        ["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (partition, reader) in &readers {
        let current = committed.get(partition).map(|committed| committed.offset.0).filter(|offset| *offset >= 0);
        let end = match ends.get(partition) {
            Some(Ok(end)) => end.map(|end| end.offset.0),
            // A deleted topic's offsets are shown without an end.
            Some(Err(ClientError::Broker { .. })) | None => None,
            Some(Err(error)) => return Err(error.clone().into()),
        };
        rows.push(offset_row(&group.group, partition, current, end, *reader));
    }
    // Members that read nothing are shown last.
    for member in group.members.iter().filter(|member| member.assignment.is_empty()) {
        let mut row = vec![group.group.clone()];
        row.extend(["-", "-", "-", "-", "-"].map(str::to_owned));
        row.extend([member.member_id.clone(), member.host.clone(), member.client_id.clone()]);
        rows.push(row);
    }
    Ok(table(&[15, 15, 10, 15, 15, 15, 15, 15], &rows))
}

fn offset_row(
    group: &str,
    partition: &TopicPartition,
    current: Option<i64>,
    end: Option<i64>,
    reader: Option<&GroupMemberDescription>,
) -> Vec<String> {
    let number = |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
    let text =
        |text: fn(&GroupMemberDescription) -> &String| reader.map_or("-".to_owned(), |reader| text(reader).clone());
    vec![
        group.to_owned(),
        partition.topic.to_string(),
        partition.partition.to_string(),
        number(current),
        number(end),
        number(current.zip(end).map(|(current, end)| end - current)),
        text(|reader| &reader.member_id),
        text(|reader| &reader.host),
        text(|reader| &reader.client_id),
    ]
}

fn members(group: &GroupDescription, verbose: bool) -> String {
    let has_instances = group.members.iter().any(|member| member.instance_id.is_some());
    let row = |cells: [String; 6], assignment: String| {
        let [name, id, instance, host, client, count] = cells;
        let mut row = vec![name, id];
        if has_instances {
            row.push(instance);
        }
        row.extend([host, client, count]);
        // The last column is not filled, and the count is not the last in 3.9's format either.
        row.push(if verbose { assignment } else { String::new() });
        row
    };
    let titles = ["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS"].map(str::to_owned);
    let mut rows = vec![row(titles, "ASSIGNMENT".to_owned())];
    for member in &group.members {
        let cells = [
            group.group.clone(),
            member.member_id.clone(),
            member.instance_id.clone().unwrap_or_default(),
            member.host.clone(),
            member.client_id.clone(),
            member.assignment.len().to_string(),
        ];
        rows.push(row(cells, assignment(&member.assignment)));
    }
    let widths: &[usize] = if has_instances { &[15, 15, 17, 15, 15, 15] } else { &[15, 15, 15, 15, 15] };
    table(widths, &rows)
}

/// `a(0,1), b(2)`; `-` for nothing.
fn assignment(partitions: &[TopicPartition]) -> String {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition);
    }
    let topic = |(topic, mut numbers): (&str, Vec<i32>)| {
        numbers.sort_unstable();
        format!("{topic}({})", numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    };
    match topics.is_empty() {
        true => "-".to_owned(),
        false => topics.into_iter().map(topic).collect::<Vec<_>>().join(", "),
    }
}

fn state(admin: &Admin, group: &GroupDescription) -> String {
    let metadata = admin.cluster().metadata();
    let address = metadata.brokers.get(&group.coordinator).map_or("-".to_owned(), |node| node.address.to_string());
    let rows = [
        ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "#MEMBERS"].map(str::to_owned).to_vec(),
        vec![
            group.group.clone(),
            format!("{address}  ({})", group.coordinator.0),
            group.protocol.clone(),
            group.state.clone(),
            group.members.len().to_string(),
        ],
    ];
    table(&[15, 25, 25, 20], &rows)
}

#[cfg(test)]
mod tests {
    use protocol::types::BrokerId;

    use super::*;

    fn group(members: Vec<GroupMemberDescription>) -> GroupDescription {
        GroupDescription {
            group: "words".to_owned(),
            state: "Stable".to_owned(),
            protocol_type: "consumer".to_owned(),
            protocol: "range".to_owned(),
            coordinator: BrokerId(0),
            members,
        }
    }

    fn member() -> GroupMemberDescription {
        GroupMemberDescription {
            member_id: "m-1".to_owned(),
            instance_id: None,
            client_id: "c".to_owned(),
            host: "/127.0.0.1".to_owned(),
            assignment: vec![TopicPartition::new("t", 1), TopicPartition::new("t", 0)],
        }
    }

    #[test]
    fn what_is_missing_is_a_dash() {
        let partition = TopicPartition::new("t", 0);
        let check = |current, end, reader: Option<&GroupMemberDescription>, expected: &str| {
            assert_eq!(offset_row("g", &partition, current, end, reader).join(" "), expected);
        };
        check(Some(1), Some(3), Some(&member()), "g t 0 1 3 2 m-1 /127.0.0.1 c");
        check(None, Some(3), None, "g t 0 - 3 - - - -");
        check(Some(1), None, None, "g t 0 1 - - - - -");
    }

    #[test]
    fn members_show_what_they_read_where_asked() {
        let text = members(&group(vec![member()]), true);
        let expected = "GROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     ASSIGNMENT\n\
                        words           m-1             /127.0.0.1      c               2               t(0,1)\n";
        assert_eq!(text, expected);
        assert!(!members(&group(vec![member()]), false).contains("ASSIGNMENT"));
    }
}
