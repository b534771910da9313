//! `tidemill dev up`: ports first, then the keeper, then all brokers at once, until the cluster serves.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use client::kafka::Cluster as Client;
use client::kafka::admin::Admin;
use client::zookeeper::ConnectString;
use runtime::Clock;

use super::cluster::{BROKERS_MAX, CONSOLE_PORT, Cluster, Folder, Member, Role};
use super::process::{self, Started, State};
use super::{UpOptions, command, only_one};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::{connect, stdout};

/// Brokers where nobody says how many.
const BROKERS_DEFAULT: usize = 3;
/// How long a keeper, and then the brokers, may take until they serve.
const UP_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often they are asked.
const UP_POLL: Duration = Duration::from_millis(50);
/// Topic of the tutorial, for the commands that are printed.
const TOPIC: &str = "wordsendertest";

/// Starts what does not run, waits until all of it serves, and prints where.
pub fn run(options: &UpOptions) -> Result<(), Failure> {
    let folder = Folder::at(&options.dir)?;
    let wanted = wanted(options)?;
    let there = folder.read()?;
    refuse_other(options, there.as_ref(), wanted)?;
    let running = |role| matches!(process::state(&folder, role), State::Running(_));
    let plan = plan(options, there.as_ref(), wanted, &running)?;
    let missing: Vec<&Member> = plan.members.iter().filter(|member| !running(member.role)).collect();
    if missing.is_empty() {
        return Err(Failure::new(format!("the cluster in {} is up already", options.dir.display()))
            .cause(format!("its brokers serve on {}", plan.bootstrap()))
            .help(command("status", &options.dir)));
    }
    connect::block_on(async {
        if !plan.has_keeper() {
            connect::zookeeper(&plan.zookeeper)
                .await
                .map_err(|failure| failure.with_zookeeper(&plan.zookeeper))?
                .close()
                .await;
        }
        let made = folder.make().and_then(|()| missing.iter().try_for_each(|member| folder.write(member, &plan)));
        made.map_err(|error| cannot_write(&options.dir, &error))?;
        let _lock = only_one(&folder, &options.dir)?;
        let mut interrupt = Interrupt::listen()?;
        let mut started = Vec::new();
        let done = tokio::select! {
            biased;
            signal = interrupt.next() => Err(signal.as_failure()),
            done = start(&folder, &plan, &missing, &mut started) => done,
        };
        if done.is_err() {
            // What did not come up as a whole is not left half running.
            eprintln!("note: stopping what was started");
            for one in started.iter().rev() {
                if process::state(&folder, one.role) == State::Running(one.pid()) {
                    let _ = process::stop(&folder, one.role, one.pid());
                }
                process::forget(&folder, one.role);
            }
        }
        done
    })?;
    print(&plan, &options.dir);
    Ok(())
}

/// `-n`, where it makes sense.
fn wanted(options: &UpOptions) -> Result<Option<usize>, Failure> {
    let Some(given) = options.brokers else { return Ok(None) };
    match usize::try_from(given) {
        Ok(count) if (1..=BROKERS_MAX).contains(&count) => Ok(Some(count)),
        _ => Err(Failure::usage(format!("-n is {given}, and a cluster has 1 to {BROKERS_MAX} brokers"))
            .cause("each of them is a process of its own on this machine")
            .help("bin/tidemill dev up -n 3")),
    }
}

/// A folder keeps its number of brokers or grows, and stays with its ZooKeeper.
fn refuse_other(options: &UpOptions, there: Option<&Cluster>, wanted: Option<usize>) -> Result<(), Failure> {
    let Some(there) = there else { return Ok(()) };
    let dir = options.dir.display();
    let count = there.brokers().count();
    if let Some(wanted) = wanted.filter(|wanted| *wanted < count) {
        return Err(Failure::new(format!("the cluster in {dir} has {count} brokers, and {wanted} are asked for"))
            .cause("what the others hold would be missing")
            .help(format!(
                "{}   (or {} first, which removes its data)",
                command(&format!("up -n {count}"), &options.dir),
                command("purge", &options.dir)
            )));
    }
    match &options.zookeeper {
        Some(given) if there.has_keeper() || *given != there.zookeeper => {
            Err(Failure::new(format!("the cluster in {dir} belongs to the ZooKeeper at {}", there.zookeeper))
                .cause(format!("--zookeeper {given} leads to another"))
                .help(format!(
                    "{}   (for another one: another folder, --dir data/dev-2)",
                    command("status", &options.dir)
                )))
        }
        _ => Ok(()),
    }
}

/// The cluster as it shall be: members that are there as they are, new ones on ports that are free.
fn plan(
    options: &UpOptions,
    there: Option<&Cluster>,
    wanted: Option<usize>,
    running: &dyn Fn(Role) -> bool,
) -> Result<Cluster, Failure> {
    let count = wanted.or(there.map(|there| there.brokers().count())).unwrap_or(BROKERS_DEFAULT);
    let own_keeper = there.map_or(options.zookeeper.is_none(), Cluster::has_keeper);
    let roles = own_keeper.then_some(Role::Keeper).into_iter().chain((0..count).map(Role::Broker));
    let known = |role| there.and_then(|there| there.members.iter().find(|member| member.role == role));
    let (mut members, mut taken) = (Vec::<Member>::new(), Vec::new());
    for role in roles {
        if let Some(member) = known(role).filter(|_| running(role)) {
            members.push(member.clone());
            continue;
        }
        // A port it had is kept while it is free.
        let port = match known(role) {
            Some(member) if !options.any_port || is_free(member.port) => member.port,
            _ if options.any_port => any_port(&members)?,
            _ => usual_port(options, role),
        };
        if !is_free(port) {
            taken.push(port);
        }
        members.push(Member { role, port, console: None });
        let console = match (role, known(role)) {
            (Role::Keeper, _) | (_, Some(Member { console: None, .. })) => None,
            (_, Some(Member { console: Some(port), .. })) if is_free(*port) => Some(*port),
            (Role::Broker(id), _) if !options.any_port && is_free(CONSOLE_PORT + id as u16) => {
                Some(CONSOLE_PORT + id as u16)
            }
            // Nobody depends on this one.
            _ => Some(any_port(&members)?),
        };
        if let Some(member) = members.last_mut() {
            member.console = console;
        }
    }
    if !taken.is_empty() {
        return Err(ports_taken(&taken, &options.dir, options.brokers));
    }
    // 2181 may be the keeper's of last time, on another port by now.
    let zookeeper = match members.first() {
        Some(Member { role: Role::Keeper, port, .. }) => format!("localhost:{port}"),
        _ => there.map(|there| there.zookeeper.clone()).or(options.zookeeper.clone()).unwrap_or_default(),
    };
    ConnectString::parse(&zookeeper)?;
    Ok(Cluster { members, zookeeper })
}

fn usual_port(options: &UpOptions, role: Role) -> u16 {
    match role {
        Role::Keeper => options.keeper_port,
        Role::Broker(id) => options.port + id as u16,
    }
}

fn ports_taken(taken: &[u16], dir: &Path, brokers: Option<i64>) -> Failure {
    let list = taken.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = if taken.len() == 1 { format!("port {list} is taken") } else { format!("ports {list} are taken") };
    let holders: Vec<String> = taken
        .iter()
        .map(|port| match runtime::machine::port_holder(*port) {
            Some(holder) => format!("{holder} holds {port}"),
            None => format!("a program of another user holds {port}"),
        })
        .collect();
    let count = brokers.map(|brokers| format!(" -n {brokers}")).unwrap_or_default();
    Failure::new(what).cause(holders.join(", ")).help(command(&format!("up{count} --any-port"), dir))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A port that nobody has, this cluster included.
fn any_port(members: &[Member]) -> Result<u16, Failure> {
    const ATTEMPTS_MAX: usize = 100;
    for _ in 0..ATTEMPTS_MAX {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr())?.port();
        if !members.iter().any(|member| member.port == port || member.console == Some(port)) {
            return Ok(port);
        }
    }
    Err(Failure::new("there is no free port"))
}

fn cannot_write(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}", dir.display())).cause(error).help(command("up", Path::new("data/dev-2")))
}

async fn start(
    folder: &Folder,
    plan: &Cluster,
    missing: &[&Member],
    started: &mut Vec<Started>,
) -> Result<(), Failure> {
    let (keepers, brokers): (Vec<&Member>, Vec<&Member>) =
        missing.iter().copied().partition(|member| member.role == Role::Keeper);
    for group in [keepers, brokers].into_iter().filter(|group| !group.is_empty()) {
        for member in &group {
            if let State::Gone(pid) = process::state(folder, member.role) {
                eprintln!("note: process {pid} of {} is gone; starting another", member.role);
            }
            let process = process::start(folder, member.role)?;
            eprintln!("{} is process {} on port {}", member.role, process.pid(), member.port);
            started.push(process);
        }
        wait(folder, plan, group[0].role == Role::Keeper, started).await?;
    }
    Ok(())
}

/// Waits until the keeper answers, or all brokers know each other and a controller.
async fn wait(folder: &Folder, plan: &Cluster, keeper_only: bool, started: &mut [Started]) -> Result<(), Failure> {
    let clock = Clock::real();
    let deadline = clock.now() + UP_WAIT_MAX;
    loop {
        let not_yet = if keeper_only { keeper_trouble(plan).await } else { broker_trouble(plan).await };
        for one in started.iter_mut() {
            if let Some(failure) = one.ended(folder) {
                return Err(failure);
            }
        }
        let Some(not_yet) = not_yet else { return Ok(()) };
        if clock.now() >= deadline {
            let role = started.last().map_or(Role::Keeper, |one| one.role);
            return Err(Failure::new(format!("the cluster did not serve within {} s", UP_WAIT_MAX.as_secs()))
                .cause(not_yet)
                .help(format!("tail {}", folder.log(role).display())));
        }
        clock.sleep(UP_POLL).await;
    }
}

/// Why the keeper does not answer yet.
async fn keeper_trouble(plan: &Cluster) -> Option<String> {
    let port = plan.members.iter().find(|member| member.role == Role::Keeper)?.port;
    match client::probe::who_answers("localhost", port).await {
        Some(client::probe::Answering::ZooKeeper(_)) => None,
        _ => Some(format!("no ZooKeeper answers on port {port}")),
    }
}

/// Why the brokers are no cluster yet: each must see all of them, and a controller.
async fn broker_trouble(plan: &Cluster) -> Option<String> {
    let count = plan.brokers().count();
    for broker in plan.brokers() {
        let (role, port) = (broker.role, broker.port);
        let config = match connect::client_config(&format!("localhost:{port}"), None) {
            Ok(config) => config,
            Err(failure) => return Some(failure.text().to_owned()),
        };
        let cluster = Client::new(config, Clock::real());
        // A refused connection is an answer, too: nobody waits for it here.
        if let Err(error) = cluster.any_connection().await {
            return Some(format!("{role}: {error}"));
        }
        match Admin::new(cluster.clone()).describe_cluster().await {
            Ok(seen) if seen.nodes.len() >= count && seen.controller.is_some() => {}
            Ok(seen) => return Some(format!("{role} sees {} of {count} brokers", seen.nodes.len())),
            Err(error) => return Some(format!("{role}: {error}")),
        }
        cluster.close();
    }
    None
}

/// The bootstrap list, and what to type next.
fn print(plan: &Cluster, dir: &Path) {
    let (servers, count) = (plan.bootstrap(), plan.brokers().count());
    eprintln!(
        "{count} brokers serve, with their metadata in ZooKeeper at {}; files and logs in {}",
        plan.zookeeper,
        dir.display()
    );
    eprintln!("the bootstrap list, and what to type next:");
    stdout::line(format_args!("{servers}"));
    for line in [
        format!(
            "bin/kafka-topics.sh --create --bootstrap-server {servers} --replication-factor {} --partitions 3 --topic {TOPIC}",
            count.min(3)
        ),
        format!("bin/kafka-topics.sh --describe --bootstrap-server {servers} --topic {TOPIC}"),
        format!("bin/kafka-console-producer.sh --bootstrap-server {servers} --topic {TOPIC}"),
        format!("bin/kafka-console-consumer.sh --bootstrap-server {servers} --topic {TOPIC} --from-beginning"),
        command("status", dir),
        command("stop", dir),
    ] {
        stdout::line(format_args!("{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(brokers: Option<i64>, zookeeper: Option<&str>) -> UpOptions {
        let zookeeper = zookeeper.map(str::to_owned);
        UpOptions { brokers, port: 9092, keeper_port: 2181, any_port: true, dir: "data/dev".into(), zookeeper }
    }

    fn said<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_cluster_has_a_sensible_number_of_brokers() {
        assert_eq!(wanted(&options(Some(9), None)).unwrap(), Some(9));
        assert_eq!(wanted(&options(None, None)).unwrap(), None);
        for wrong in [0, 10, 50, -1] {
            let expected = format!("error: -n is {wrong}, and a cluster has 1 to 9 brokers\n");
            assert!(said(wanted(&options(Some(wrong), None))).starts_with(&expected));
        }
    }

    #[test]
    fn members_that_are_there_keep_their_ports_and_new_ones_get_others() {
        let fresh = plan(&options(Some(2), None), None, Some(2), &|_| false).unwrap();
        assert_eq!(fresh.brokers().count(), 2);
        assert_eq!(fresh.zookeeper, format!("localhost:{}", fresh.members[0].port));
        let grown = plan(&options(Some(4), None), Some(&fresh), Some(4), &|_| true).unwrap();
        assert_eq!(grown.members[..3], fresh.members[..]);
        assert_eq!(grown.brokers().count(), 4);
        let elsewhere = plan(&options(None, Some("h:1,i:2/c")), None, None, &|_| false).unwrap();
        assert!(!elsewhere.has_keeper() && elsewhere.brokers().count() == 3);
        assert_eq!(elsewhere.zookeeper, "h:1,i:2/c");
    }

    #[test]
    fn a_port_that_is_taken_is_told_with_its_holder() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let there = Cluster {
            members: vec![Member { role: Role::Broker(0), port, console: None }],
            zookeeper: "h:1".to_owned(),
        };
        let options = UpOptions { any_port: false, ..options(Some(1), None) };
        let said = said(plan(&options, Some(&there), Some(1), &|_| false));
        let me = std::process::id();
        assert!(said.starts_with(&format!("error: port {port} is taken\ncause: process {me} (")), "{said}");
        assert!(said.ends_with(&format!(" holds {port}\nhelp: bin/tidemill dev up -n 1 --any-port")), "{said}");
        // Its own brokers hold theirs with right.
        assert!(plan(&options, Some(&there), Some(1), &|_| true).is_ok());
    }

    #[test]
    fn a_folder_keeps_what_it_is() {
        let there = plan(&options(Some(3), None), None, Some(3), &|_| false).unwrap();
        let check =
            |brokers, zookeeper| refuse_other(&options(brokers, zookeeper), Some(&there), brokers.map(|n| n as usize));
        assert!(check(Some(3), None).is_ok() && check(Some(5), None).is_ok() && check(None, None).is_ok());
        insta::assert_snapshot!(said(check(Some(2), None)), @r"
        error: the cluster in data/dev has 3 brokers, and 2 are asked for
        cause: what the others hold would be missing
        help: bin/tidemill dev up -n 3   (or bin/tidemill dev purge first, which removes its data)
        ");
        let elsewhere = said(check(None, Some("h:1")));
        assert!(
            elsewhere.starts_with("error: the cluster in data/dev belongs to the ZooKeeper at localhost:"),
            "{elsewhere}"
        );
    }
}
