//! `tidemill dev` as it is typed: a cluster comes up, is looked at, loses a broker, stops and is removed; and what people do wrong with it.

mod said;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use said::Said;

/// A folder with a cluster in it, which is stopped with the test.
struct Cluster {
    place: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Cluster {
        Cluster { place: tempfile::tempdir().unwrap() }
    }

    fn folder(&self) -> std::path::PathBuf {
        self.place.path().join("data/dev")
    }

    /// Types `tidemill LINE` in the folder.
    fn type_in(&self, line: &str) -> Said {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
        command.args(words).current_dir(self.place.path()).output().unwrap().into()
    }

    #[track_caller]
    fn check(&self, line: &str, code: i32) -> Said {
        let said = self.type_in(line);
        assert_eq!(said.code, Some(code), "{line}\n{}{}{}", said.out, said.err, self.logs());
        said
    }

    /// What it says, for a test that failed.
    fn logs(&self) -> String {
        let logs = std::fs::read_dir(self.folder().join("logs")).into_iter().flatten().flatten();
        logs.map(|log| std::fs::read_to_string(log.path()).unwrap_or_default()).collect()
    }

    fn pid(&self, member: &str) -> Pid {
        let text = std::fs::read_to_string(self.folder().join(format!("{member}.pid"))).unwrap();
        Pid::from_raw(text.trim().parse().unwrap()).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.type_in("dev stop");
    }
}

/// Ports of a bootstrap list.
fn ports(list: &str) -> Vec<u16> {
    list.split(',').map(|address| address.rsplit_once(':').unwrap().1.parse().unwrap()).collect()
}

#[test]
fn a_cluster_comes_up_loses_a_broker_and_goes() {
    let cluster = Cluster::new();
    let up = cluster.check("dev up -n 3 --any-port", 0);
    let servers = up.out.lines().next().unwrap();
    assert_eq!(ports(servers).len(), 3);
    let commands: Vec<&str> = up.out.lines().skip(1).collect();
    assert!(commands.iter().all(|line| line.starts_with("bin/")), "{}", up.out);
    // What is printed is what can be typed.
    let create = commands[0].strip_prefix("bin/kafka-topics.sh").unwrap();
    cluster.check(&format!("kafka-topics{create}"), 0);
    let described = cluster.check(&format!("kafka-topics --describe --bootstrap-server {servers}"), 0).out;
    assert_eq!(described.matches("ReplicationFactor: 3").count(), 1, "{described}");

    let status = cluster.check("dev status", 0);
    assert_eq!(status.out.matches(" running").count(), 4, "{}", status.out);
    assert!(status.out.contains("\nunder-replicated partitions: 0 of 3\n"), "{}", status.out);
    let again = cluster.check("dev up", 1);
    let expected = format!(
        "error: the cluster in data/dev is up already\ncause: its brokers serve on {servers}\nhelp: bin/tidemill dev status\n"
    );
    assert_eq!((again.out.as_str(), again.err), ("", expected));
    let purge = cluster.check("dev purge", 1);
    assert!(
        purge.err.starts_with("error: the cluster in data/dev is running\ncause: keeper is process "),
        "{}",
        purge.err
    );
    assert!(purge.err.ends_with("\nhelp: bin/tidemill dev stop\n"), "{}", purge.err);

    let killed = cluster.pid("broker-1");
    kill_process(killed, Signal::KILL).unwrap();
    let gone = format!("not running (process {} is gone)", killed.as_raw_nonzero());
    let is_seen = (0..200).any(|_| cluster.type_in("dev status").out.contains(&gone));
    assert!(is_seen, "{}", cluster.type_in("dev status").out);
    assert_eq!(cluster.check("dev status", 1).err, "error: broker 1 is not running\nhelp: bin/tidemill dev up\n");
    let back = cluster.check("dev up", 0);
    assert!(
        back.err.starts_with(&format!("note: process {} of broker 1 is gone", killed.as_raw_nonzero())),
        "{}",
        back.err
    );
    assert_eq!(back.out.lines().next(), Some(servers), "it comes back where it was");

    let keeper = cluster.pid("keeper");
    let stop = cluster.check("dev stop", 0);
    let order: Vec<&str> = stop.err.lines().collect();
    assert_eq!((order.len(), order[3]), (4, "keeper has stopped"), "{}", stop.err);
    let keeper = u32::try_from(keeper.as_raw_nonzero().get()).unwrap();
    assert!(runtime::machine::Process::of(keeper).words.is_empty(), "the keeper still runs");
    let none = cluster.check("dev stop", 1);
    assert_eq!(
        none.err,
        "error: there is no cluster to stop\ncause: nothing of data/dev is running\nhelp: bin/tidemill dev up\n"
    );
    cluster.check("dev purge", 0);
    assert!(!cluster.folder().exists());
}

#[test]
fn a_port_that_somebody_else_holds_is_told_before_anything_starts() {
    let cluster = Cluster::new();
    let up = cluster.check("dev up -n 1 --any-port", 0);
    let port = ports(up.out.lines().next().unwrap())[0];
    cluster.check("dev stop", 0);
    let somebody = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let taken = cluster.check("dev up", 1);
    let me = std::process::id();
    assert!(taken.err.starts_with(&format!("error: port {port} is taken\ncause: process {me} (")), "{}", taken.err);
    assert!(taken.err.ends_with("\nhelp: bin/tidemill dev up --any-port\n"), "{}", taken.err);
    assert_eq!(cluster.check("dev status", 1).err, "error: the cluster is stopped\nhelp: bin/tidemill dev up\n");
    let elsewhere = cluster.check("dev up --any-port", 0);
    assert_ne!(ports(elsewhere.out.lines().next().unwrap())[0], port);
    drop(somebody);
}

#[test]
fn a_stale_pid_file_is_no_process() {
    let cluster = Cluster::new();
    cluster.check("dev up -n 1 --any-port", 0);
    cluster.check("dev stop", 0);
    // The id belongs to another program now: this one.
    let me = std::process::id();
    std::fs::write(cluster.folder().join("broker-0.pid"), me.to_string()).unwrap();
    let status = cluster.check("dev status", 1);
    assert!(status.out.contains(&format!("not running (process {me} is gone)")), "{}", status.out);
    let stop = cluster.check("dev stop", 1);
    assert!(
        stop.err.starts_with(&format!("note: process {me} of broker 0 is gone\nerror: there is no cluster to stop\n"))
    );
    cluster.check("dev up", 0);
    cluster.check("dev status", 0);
}

#[test]
fn a_zookeeper_that_is_there_is_used_with_its_chroot() {
    let first = Cluster::new();
    first.check("dev up -n 1 --any-port", 0);
    let properties = std::fs::read_to_string(first.folder().join("server-0.properties")).unwrap();
    let zookeeper = properties.lines().find_map(|line| line.strip_prefix("zookeeper.connect=")).unwrap().to_owned();
    let second = Cluster::new();
    second.check(&format!("dev up -n 2 --any-port --zookeeper {zookeeper}/of/another"), 0);
    let status = second.check("dev status", 0);
    assert!(status.out.contains(&format!("\nzookeeper {zookeeper}/of/another\n")), "{}", status.out);
    assert_eq!(status.out.matches(" running").count(), 2, "{}", status.out);
    let ids = second.check(&format!("zookeeper-shell {zookeeper} ls /of/another/brokers/ids"), 0);
    assert!(ids.out.contains("[0, 1]"), "{}", ids.out);
    let other = second.check(&format!("dev up --zookeeper {zookeeper}"), 1);
    assert!(other.err.starts_with("error: the cluster in data/dev belongs to the ZooKeeper at "), "{}", other.err);
    second.check("dev stop", 0);
    second.check("dev purge", 0);
}

#[test]
fn a_broker_that_does_not_come_up_says_why_and_leaves_nothing_running() {
    let cluster = Cluster::new();
    cluster.check("dev up -n 2 --any-port", 0);
    cluster.check("dev stop", 0);
    let properties = cluster.folder().join("server-1.properties");
    let text = std::fs::read_to_string(&properties).unwrap();
    std::fs::write(&properties, text.replace("broker.id=1", "broker.id=7")).unwrap();
    let said = cluster.check("dev up", 1);
    let error = said.err.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert_eq!(error, "error: broker 1 ended with exit code 1 before it served");
    assert!(
        said.err.contains("\ncause: kafka.common.InconsistentBrokerIdException: Configured broker.id 7 "),
        "{}",
        said.err
    );
    let log = Path::new("data/dev/logs/broker-1.log");
    assert!(said.err.trim_end().ends_with(&log.display().to_string()), "{}", said.err);
    assert_eq!(cluster.check("dev status", 1).err, "error: the cluster is stopped\nhelp: bin/tidemill dev up\n");
}
