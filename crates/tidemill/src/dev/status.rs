//! `tidemill dev status`: every process, the controller, and what is under-replicated.

use std::time::Duration;

use client::kafka::admin::Admin;
use client::kafka::{Cluster as Client, TopicMetadata};
use runtime::Clock;

use super::cluster::{Cluster, Folder, Role};
use super::process::{self, State};
use super::{StatusOptions, command};
use crate::assignment::id_list;
use crate::connect;
use crate::failure::Failure;

/// How long a server is asked before it counts as one that does not answer.
pub const ASK_WAIT_MAX: Duration = Duration::from_secs(5);
/// Under-replicated partitions told one by one; of more the number is told.
const TOLD_MAX: usize = 20;

/// What brokers say of themselves.
struct Seen {
    controller: Option<i32>,
    brokers: Vec<i32>,
    partitions: usize,
    under_replicated: Vec<String>,
}

/// Prints it. Exit code 1 where a process is missing or nobody answers.
pub fn run(options: &StatusOptions) -> Result<(), Failure> {
    let folder = Folder::at(&options.dir)?;
    let Some(cluster) = folder.read()? else {
        return Err(
            Failure::new(format!("there is no cluster in {}", options.dir.display())).help(command("up", &options.dir))
        );
    };
    let states: Vec<State> = cluster.members.iter().map(|member| process::state(&folder, member.role)).collect();
    let any_broker = cluster
        .members
        .iter()
        .zip(&states)
        .any(|(member, state)| member.role != Role::Keeper && matches!(state, State::Running(_)));
    let seen = if any_broker { connect::block_on(ask(&cluster)).ok() } else { None };
    print!("{}", table(&cluster, &states, seen.as_ref()));
    if let Some(seen) = &seen {
        print!("{}", replication(seen));
    }
    verdict(&cluster, &states, seen.as_ref()).map_err(|failure| failure.or_help(|| command("up", &options.dir)))
}

async fn ask(cluster: &Cluster) -> Result<Seen, Failure> {
    let mut config = connect::client_config(&cluster.bootstrap(), None)?;
    config.default_api_timeout = ASK_WAIT_MAX;
    config.request_timeout = ASK_WAIT_MAX;
    let admin = Admin::new(Client::new(config, Clock::real()));
    let described = admin.describe_cluster().await?;
    let topics = admin.list_topics().await?;
    let mut brokers: Vec<i32> = described.nodes.iter().map(|node| node.id.0).collect();
    brokers.sort_unstable();
    Ok(Seen {
        controller: described.controller.map(|controller| controller.0),
        brokers,
        partitions: topics.iter().map(|topic| topic.partitions.len()).sum(),
        under_replicated: topics.iter().flat_map(|topic| under_replicated(topic)).collect(),
    })
}

/// The rows of `kafka-topics.sh --describe --under-replicated-partitions`.
fn under_replicated(topic: &TopicMetadata) -> Vec<String> {
    let thin = topic.partitions.iter().filter(|partition| partition.isr.len() < partition.replicas.len());
    thin.map(|partition| {
        let ids = |brokers: &[protocol::types::BrokerId]| id_list(&brokers.iter().map(|id| id.0).collect::<Vec<_>>());
        let leader = partition.leader.map_or("none".to_owned(), |leader| leader.0.to_string());
        format!(
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            topic.name,
            partition.partition,
            ids(&partition.replicas),
            ids(&partition.isr)
        )
    })
    .collect()
}

/// A row for each process.
fn table(cluster: &Cluster, states: &[State], seen: Option<&Seen>) -> String {
    let mut text = format!("{:<10}{:<10}{:<8}{:<8}STATE\n", "PROCESS", "PID", "PORT", "HTTP");
    for (member, state) in cluster.members.iter().zip(states) {
        let (pid, what) = match state {
            State::Running(pid) => {
                let is_controller =
                    matches!(member.role, Role::Broker(id) if seen.and_then(|seen| seen.controller) == Some(id as i32));
                (pid.to_string(), if is_controller { "running, controller".to_owned() } else { "running".to_owned() })
            }
            State::Gone(pid) => ("-".to_owned(), format!("not running (process {pid} is gone)")),
            State::Stopped => ("-".to_owned(), "stopped".to_owned()),
        };
        let http = member.console.map_or("-".to_owned(), |port| port.to_string());
        text.push_str(&format!("{:<10}{pid:<10}{:<8}{http:<8}{what}\n", member.role.to_string(), member.port));
    }
    if !cluster.has_keeper() {
        text.push_str(&format!("zookeeper {}\n", cluster.zookeeper));
    }
    text
}

fn replication(seen: &Seen) -> String {
    let controller = seen.controller.map_or("none".to_owned(), |controller| format!("broker {controller}"));
    let thin = seen.under_replicated.len();
    let mut text = format!("controller: {controller}\nunder-replicated partitions: {thin} of {}\n", seen.partitions);
    for row in seen.under_replicated.iter().take(TOLD_MAX) {
        text.push_str(row);
        text.push('\n');
    }
    if thin > TOLD_MAX {
        text.push_str(&format!("\tand {} more\n", thin - TOLD_MAX));
    }
    text
}

fn verdict(cluster: &Cluster, states: &[State], seen: Option<&Seen>) -> Result<(), Failure> {
    let roles = cluster.members.iter().map(|member| member.role).zip(states);
    let missing: Vec<String> = roles
        .clone()
        .filter(|(_, state)| !matches!(state, State::Running(_)))
        .map(|(role, _)| role.to_string())
        .collect();
    if missing.len() == cluster.members.len() {
        return Err(Failure::new("the cluster is stopped"));
    }
    if !missing.is_empty() {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        return Err(Failure::new(format!("{} {verb} not running", missing.join(", "))));
    }
    let Some(seen) = seen else {
        return Err(Failure::new(format!("no broker answered within {} s", ASK_WAIT_MAX.as_secs())));
    };
    let absent = roles.filter_map(|(role, _)| match role {
        Role::Broker(id) if !seen.brokers.contains(&(id as i32)) => Some(role.to_string()),
        _ => None,
    });
    let absent: Vec<String> = absent.collect();
    if absent.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} is not part of the cluster", absent.join(", ")))
        .cause(format!("the registered brokers are {}", id_list(&seen.brokers))))
}

#[cfg(test)]
mod tests {
    use super::super::cluster::Member;
    use super::*;

    fn cluster() -> Cluster {
        let roles = [(Role::Keeper, 2181), (Role::Broker(0), 9092), (Role::Broker(1), 9093)];
        let members = roles.map(|(role, port)| Member { role, port, console: (port == 9093).then_some(8081) }).to_vec();
        Cluster { members, zookeeper: "localhost:2181".to_owned() }
    }

    fn seen(under_replicated: &[&str]) -> Seen {
        let under_replicated = under_replicated.iter().map(|row| (*row).to_owned()).collect();
        Seen { controller: Some(1), brokers: vec![0, 1], partitions: 6, under_replicated }
    }

    #[test]
    fn every_process_has_a_row() {
        let states = [State::Running(11), State::Gone(12), State::Running(13)];
        insta::assert_snapshot!(table(&cluster(), &states, Some(&seen(&[]))), @r"
        PROCESS   PID       PORT    HTTP    STATE
        keeper    11        2181    -       running
        broker 0  -         9092    -       not running (process 12 is gone)
        broker 1  13        9093    8081    running, controller
        ");
        insta::assert_snapshot!(replication(&seen(&["\tTopic: t\tPartition: 0\tLeader: 1\tReplicas: 0,1\tIsr: 1"])), @r"
        controller: broker 1
        under-replicated partitions: 1 of 6
        	Topic: t	Partition: 0	Leader: 1	Replicas: 0,1	Isr: 1
        ");
    }

    #[test]
    fn a_cluster_is_well_only_as_a_whole() {
        let running = [State::Running(11), State::Running(12), State::Running(13)];
        let said = |states: &[State], seen: Option<&Seen>| {
            verdict(&cluster(), states, seen).map_err(|failure| failure.to_string())
        };
        assert_eq!(said(&running, Some(&seen(&[]))), Ok(()));
        assert_eq!(said(&running, None), Err("error: no broker answered within 5 s".to_owned()));
        let one = [State::Running(11), State::Gone(12), State::Running(13)];
        assert_eq!(said(&one, Some(&seen(&[]))), Err("error: broker 0 is not running".to_owned()));
        assert_eq!(said(&[State::Stopped; 3], None), Err("error: the cluster is stopped".to_owned()));
        let fewer = Seen { brokers: vec![1], ..seen(&[]) };
        let expected = "error: broker 0 is not part of the cluster\ncause: the registered brokers are 1";
        assert_eq!(said(&running, Some(&fewer)), Err(expected.to_owned()));
    }
}
