//! The tools against a keeper and a broker, all of them the built program: what people type, what they see, what `$?` says.

mod said;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use said::Said;

/// Keeper and broker in one process, ended with the test.
struct Servers {
    child: Child,
    zookeeper: String,
    broker: String,
    _data: tempfile::TempDir,
}

impl Servers {
    fn start() -> Servers {
        let data = tempfile::tempdir().unwrap();
        let (keeper_port, port) = (free_port(), free_port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(["serve", "--keeper-port", &keeper_port.to_string(), "--port", &port.to_string()])
            .args(["--http", "none", "--override", "offsets.topic.num.partitions=1", "--data-dir"])
            .arg(data.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let started = lines.by_ref().map_while(Result::ok).any(|line| line.contains("[KafkaServer id=0] started"));
        assert!(started, "the servers ended before they had started");
        // Whoever writes there must not find the pipe closed.
        runtime::thread("server's stderr", move || lines.for_each(drop)).unwrap();
        let (zookeeper, broker) = (format!("localhost:{keeper_port}"), format!("localhost:{port}"));
        Servers { child, zookeeper, broker, _data: data }
    }

    /// Runs a tool with `Z` and `B` in its words standing for the two servers, and `input` on stdin.
    fn tool(&self, line: &str, input: &str) -> Said {
        let mut child = self.spawn(line);
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    fn spawn(&self, line: &str) -> Child {
        let word = |word: &str| match word {
            "Z" => self.zookeeper.clone(),
            "B" => self.broker.clone(),
            word => word.to_owned(),
        };
        Command::new(env!("CARGO_BIN_EXE_tidemill"))
            .args(line.split(' ').map(word))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// A tool that is to end with `code` and print `out`.
    #[track_caller]
    fn check(&self, line: &str, code: i32, out: &str) -> Said {
        let said = self.tool(line, "");
        assert_eq!((said.code, said.out.as_str()), (Some(code), out), "{line}\n{}", said.err);
        said
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Nothing of it is needed any more, so it need not be given the time for a clean end.
        let _ = self.child.kill().and_then(|()| self.child.wait().map(drop));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn the_tutorials_commands_over_zookeeper() {
    let servers = Servers::start();
    let create = "kafka-topics --create --zookeeper Z --replication-factor 1 --partitions 1 --topic wordsendertest";
    servers.check(create, 0, "Created topic \"wordsendertest\".\n");
    let said = servers.check(create, 1, "");
    assert!(said.err.starts_with("Error while executing topic command : Topic \"wordsendertest\" already exists."));
    servers.check("kafka-topics --list --zookeeper Z", 0, "wordsendertest\n");

    let producer = "kafka-console-producer --broker-list B --topic wordsendertest";
    let said = servers.tool(producer, "hello hadoop\nhello spark\n");
    assert_eq!((said.code, said.out.as_str(), said.err.as_str()), (Some(0), "", ""));

    // The consumer runs while one more line is typed, and ends as Ctrl-C ends it.
    let mut consumer =
        servers.spawn("kafka-console-consumer --zookeeper Z --topic wordsendertest --from-beginning --group g");
    let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "hello hadoop");
    assert_eq!(lines.next().unwrap().unwrap(), "hello spark");
    let mut typing = servers.spawn(producer);
    let mut stdin = typing.stdin.take().unwrap();
    stdin.write_all(b"hello again\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "hello again", "a typed line appears while the producer waits for more");
    servers.check("kafka-consumer-groups --zookeeper Z --delete --group g", 1, "");
    drop(stdin);
    assert_eq!(typing.wait().unwrap().code(), Some(0));
    interrupt(&consumer);
    let mut err = String::new();
    consumer.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((consumer.wait().unwrap().code(), err.as_str()), (Some(130), "Processed a total of 3 messages\n"));

    servers.check(
        "kafka-consumer-groups --zookeeper Z --describe --group g",
        0,
        "GROUP, TOPIC, PARTITION, CURRENT OFFSET, LOG END OFFSET, LAG, OWNER\ng, wordsendertest, 0, 3, 3, 0, none\n",
    );
    let said =
        servers.check("kafka-console-consumer --zookeeper Z --topic wordsendertest --from-beginning --group g", 1, "");
    assert!(said.err.starts_with("Found previous offset information for this group g."), "{}", said.err);
}

#[test]
fn a_group_nobody_named_leaves_nothing_behind() {
    let servers = Servers::start();
    servers.tool("kafka-console-producer --broker-list B --topic t", "a\nb\n");
    let zookeeper = "kafka-console-consumer --zookeeper Z --topic t --from-beginning --max-messages 1";
    assert_eq!(servers.check(zookeeper, 0, "a\n").err, "Processed a total of 1 messages\n");
    servers.check("kafka-consumer-groups --zookeeper Z --list", 0, "");
    let brokers = "kafka-console-consumer --bootstrap-server B --topic t --from-beginning --max-messages 1";
    servers.check(brokers, 0, "a\n");
    servers.check(brokers, 0, "a\n");
}

#[test]
fn a_group_goes_on_where_it_stopped() {
    let servers = Servers::start();
    servers.check("kafka-topics --create --bootstrap-server B --topic t --partitions 1", 0, "Created topic t.\n");
    servers.tool("kafka-console-producer --bootstrap-server B --topic t", "a\nb\nc\n");
    let consumer = "kafka-console-consumer --bootstrap-server B --topic t --group g --from-beginning --max-messages";
    servers.check(&format!("{consumer} 2"), 0, "a\nb\n");
    let described = servers.tool("kafka-consumer-groups --bootstrap-server B --describe --group g", "");
    let row: Vec<&str> = described.out.lines().nth(2).unwrap().split_whitespace().collect();
    assert_eq!(row, ["g", "t", "0", "2", "3", "1", "-", "-", "-"], "{}", described.out);
    assert_eq!(described.err, "\nConsumer group 'g' has no active members.\n");
    servers.check(&format!("{consumer} 1"), 0, "c\n");

    let reset = "kafka-consumer-groups --bootstrap-server B --group g --reset-offsets --topic t --shift-by -2";
    servers.check(&format!("{reset} --execute --export"), 0, "\"t\",0,1\n");
    servers.check(&format!("{consumer} 1"), 0, "b\n");
    let gone = "Deletion of requested consumer groups ('g') was successful.\n";
    servers.check("kafka-consumer-groups --bootstrap-server B --delete --group g", 0, gone);
    servers.check(
        "kafka-consumer-groups --bootstrap-server B --describe --group g",
        1,
        "\nError: Consumer group 'g' does not exist.\n",
    );
}

#[test]
fn keys_headers_and_offsets_are_printed_where_asked() {
    let servers = Servers::start();
    servers.tool(
        "kafka-console-producer --bootstrap-server B --topic t --property parse.key=true --property key.separator=: --property null.marker=NULL",
        "k:v\nk:NULL\n",
    );
    servers.check(
        "kafka-console-consumer --bootstrap-server B --topic t --partition 0 --offset 0 --max-messages 2 --property print.key=true --property print.offset=true",
        0,
        "Offset:0\tk\tv\nOffset:1\tk\tnull\n",
    );
    servers.check("kafka-get-offsets --bootstrap-server B --topic t", 0, "t:0:2\n");
    servers.check("kafka-run-class kafka.tools.GetOffsetShell --broker-list B --topic t --time -2", 0, "t:0:0\n");
    let said = servers.tool("kafka-console-producer --broker-list B --topic t --property parse.key=true", "v\n");
    assert_eq!((said.code, said.err.as_str()), (Some(1), "No key found on line 1: v\n"));
}

#[test]
fn settings_written_in_one_form_are_seen_in_the_other() {
    let servers = Servers::start();
    servers.check("kafka-topics --create --bootstrap-server B --topic t", 0, "Created topic t.\n");
    servers.check(
        "kafka-configs --zookeeper Z --alter --entity-type topics --entity-name t --add-config retention.ms=1000",
        0,
        "Updated config for topic: \"t\".\n",
    );
    // The broker acts on the notice in its own time.
    let described = || servers.tool("kafka-configs --bootstrap-server B --describe --topic t", "").out;
    let is_seen = (0..200).any(|_| described().contains("  retention.ms=1000 sensitive=false"));
    assert!(is_seen, "{}", described());
    servers.check(
        "kafka-configs --bootstrap-server B --alter --topic t --add-config retention.ms=2000",
        0,
        "Completed updating config for topic t.\n",
    );
    servers.check(
        "kafka-configs --zookeeper Z --describe --entity-type topics --entity-name t",
        0,
        "Configs for topics:t are retention.ms=2000\n",
    );
}

#[test]
fn what_is_wrong_is_told_once_with_what_to_do() {
    let servers = Servers::start();
    let nowhere = format!("localhost:{}", free_port());
    let said = servers.tool(&format!("kafka-topics --list --bootstrap-server {nowhere}"), "");
    let lines: Vec<&str> = said.err.lines().collect();
    assert_eq!(said.code, Some(1));
    assert!(lines[0].ends_with("could not be established. Node may not be available."), "{}", said.err);
    assert!(lines[1].starts_with("cause: ") && lines[2].starts_with("help: ") && lines.len() == 3, "{}", said.err);

    let said =
        servers.tool(&format!("kafka-console-producer --broker-list {nowhere} --topic t --max-block-ms 300"), "a\nb\n");
    assert_eq!(said.code, Some(1));
    assert_eq!(said.err.matches("WARN Connection to node -1").count(), 1, "{}", said.err);
    assert!(said.err.contains("Topic t not present in metadata after"), "{}", said.err);

    servers.tool("kafka-console-producer --broker-list B --topic wordsendertest", "a\n");
    let mut reader = servers.spawn("kafka-console-consumer --bootstrap-server B --topic wordsendertset");
    let mut lines = BufReader::new(reader.stderr.take().unwrap()).lines();
    let expected = "note: topic \"wordsendertset\" does not exist; did you mean \"wordsendertest\"?";
    assert_eq!(lines.next().unwrap().unwrap(), expected);
    interrupt(&reader);
    assert_eq!(reader.wait().unwrap().code(), Some(130));
    servers.check("kafka-topics --list --bootstrap-server B --exclude-internal", 0, "wordsendertest\n");
}

fn interrupt(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidemill"))
        .arg("--help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let said: Said = child.wait_with_output().unwrap().into();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}
