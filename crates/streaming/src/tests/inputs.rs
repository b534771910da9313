//! Sources: what Spark's InputStreamsSuite looks at.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Program, Seen, TEST_LIMIT};
use crate::listener::{BatchInfo, ReceiverInfo};
use crate::{DStream, ManualClock, RddQueue, StreamingListener, Text};

#[test]
fn a_queue_gives_one_rdd_or_all_and_then_the_default() {
    let check = |one_at_a_time: bool, default: Option<i32>, expected: &[&[i32]]| {
        let mut program = Program::new();
        let sc = program.ssc.spark_context().clone();
        let queue = RddQueue::new((1..=3).map(|n| sc.parallelize(vec![n], 1)).collect());
        let default = default.map(|n| sc.parallelize(vec![n], 1));
        let seen = program.collect(&program.ssc.queue_stream(queue.clone(), one_at_a_time, default));
        program.ssc.start().unwrap();
        program.run(4);
        queue.push(sc.parallelize(vec![9], 1));
        program.run(1);
        assert_eq!(*seen.lock(), expected);
    };
    check(true, None, &[&[1], &[2], &[3], &[], &[9]]);
    check(false, None, &[&[1, 2, 3], &[], &[], &[], &[9]]);
    check(true, Some(0), &[&[1], &[2], &[3], &[0], &[9]]);
}

/// Advances batch by batch until the records seen are those expected.
fn run_until(program: &mut Program, seen: &Seen<Vec<Text>>, expected: &[&str]) {
    let deadline = runtime::Clock::real().now() + TEST_LIMIT;
    loop {
        program.run(1);
        let lines: Vec<Text> = seen.lock().iter().flatten().cloned().collect();
        if lines == expected {
            return;
        }
        assert!(runtime::Clock::real().now() < deadline, "{lines:?} instead of {expected:?}");
    }
}

#[derive(Default)]
struct Receivers(Mutex<Vec<String>>, Mutex<u64>);

impl StreamingListener for Receivers {
    fn on_receiver_started(&self, receiver: &ReceiverInfo) {
        self.0.lock().push(format!("started {}", receiver.name));
    }
    fn on_receiver_error(&self, receiver: &ReceiverInfo) {
        self.0.lock().push(receiver.last_error.clone());
    }
    fn on_receiver_stopped(&self, receiver: &ReceiverInfo) {
        self.0.lock().push(format!("stopped {}", receiver.active));
    }
    fn on_batch_completed(&self, batch: &BatchInfo) {
        *self.1.lock() += batch.num_records();
    }
}

#[test]
fn socket_lines_arrive_and_a_lost_server_is_found_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = Program::new();
    let receivers = Arc::new(Receivers::default());
    program.ssc.add_streaming_listener(receivers.clone());
    let lines = program.ssc.socket_text_stream("127.0.0.1", listener.local_addr().unwrap().port());
    let seen = program.collect(&lines);
    program.ssc.start().unwrap();

    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"to be\r\nor no").unwrap();
    run_until(&mut program, &seen, &["to be"]);
    server.write_all(b"t\n\n\xff\nlast").unwrap();
    drop(server);
    run_until(&mut program, &seen, &["to be", "or not", "", "\u{fffd}", "last"]);

    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"back\n").unwrap();
    run_until(&mut program, &seen, &["to be", "or not", "", "\u{fffd}", "last", "back"]);
    program.ssc.stop(true);
    assert_eq!(*receivers.0.lock(), ["started SocketReceiver", "Socket data stream had no more data", "stopped false"]);
    assert_eq!(*receivers.1.lock(), 6);
}

#[test]
fn a_graceful_stop_still_processes_what_a_socket_brought() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let program = Program::new();
    let lines = program.ssc.socket_text_stream("127.0.0.1", listener.local_addr().unwrap().port());
    let seen = program.collect(&lines);
    program.ssc.start().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.write_all(b"last words\n").unwrap();
    // No batch is due: only the stop can bring the line.
    let deadline = runtime::Clock::real().now() + TEST_LIMIT;
    while !program.ssc.inner().graph.has_pending_input() {
        assert!(runtime::Clock::real().now() < deadline);
        std::thread::yield_now();
    }
    program.ssc.stop(true);
    assert_eq!(*seen.lock(), [["last words"]]);
}

/// A program whose clock stands near the file system's, in a fresh directory that already holds an old file.
fn file_program<T: crate::Data>(
    make: impl Fn(&Program, &Path) -> DStream<T>,
) -> (Program, Seen<Vec<T>>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("old"), "old\n").unwrap();
    let program = Program::at(ManualClock::at(runtime::Clock::real().now_ms() + 1));
    let stream = make(&program, directory.path());
    let seen = program.collect(&stream);
    program.ssc.start().unwrap();
    (program, seen, directory)
}

/// Puts a file there whole, written so many milliseconds after the clock's time.
fn put(program: &Program, directory: &Path, name: &str, contents: &[u8], after_ms: i64) {
    let unfinished = directory.join(format!(".{name}"));
    std::fs::write(&unfinished, contents).unwrap();
    let modified_ms = (program.clock.now_ms() + after_ms).unsigned_abs();
    let modified = std::time::UNIX_EPOCH + Duration::from_millis(modified_ms);
    std::fs::File::options().write(true).open(&unfinished).unwrap().set_modified(modified).unwrap();
    std::fs::rename(unfinished, directory.join(name)).unwrap();
}

#[test]
fn new_files_are_read_once() {
    let (mut program, seen, directory) = file_program(|program, directory| program.ssc.text_file_stream(directory));
    let directory = directory.path();
    program.run(1);
    put(&program, directory, "a", b"one\ntwo", 0);
    put(&program, directory, "b", b"three\n", 0);
    put(&program, directory, "_temporary", b"no\n", 0);
    std::fs::create_dir(directory.join("folder")).unwrap();
    program.run(2);
    put(&program, directory, "c", b"four\n", 0);
    program.run(1);
    let seen: Vec<Vec<String>> = seen.lock().iter().map(|b| b.iter().map(|line| line.to_string()).collect()).collect();
    assert_eq!(seen, [vec![], vec!["one", "two", "three"], vec![], vec!["four"]]);
}

#[test]
fn a_file_of_a_later_time_waits_for_its_batch_and_a_forgotten_one_is_not_new() {
    let (mut program, seen, directory) = file_program(|program, directory| program.ssc.text_file_stream(directory));
    program.run(100);
    seen.lock().clear();
    put(&program, directory.path(), "ahead", b"ahead\n", 2500);
    put(&program, directory.path(), "forgotten", b"forgotten\n", -90_000);
    put(&program, directory.path(), "late", b"late\n", -30_000);
    program.run(2);
    assert!(!seen.lock().iter().flatten().any(|line| *line == *"ahead"), "two seconds are not enough");
    program.run(2);
    let seen: Vec<String> = seen.lock().iter().flatten().map(|line| line.to_string()).collect();
    assert!(!seen.contains(&"forgotten".to_owned()) && seen.contains(&"late".to_owned()), "{seen:?}");
    assert_eq!(seen.iter().filter(|line| *line == "ahead").count(), 1, "{seen:?}");
}

#[test]
fn a_directory_that_is_not_there_yet_harms_nobody() {
    let mut program = Program::new();
    let seen = program.collect(&program.ssc.text_file_stream(Path::new("/nowhere/at/all")));
    program.ssc.start().unwrap();
    program.run(2);
    assert_eq!(*seen.lock(), [vec![], Vec::<Text>::new()]);
}

#[test]
fn binary_records() {
    let make = |program: &Program, directory: &Path| program.ssc.binary_records_stream(directory, 4).unwrap();
    let (mut program, seen, directory) = file_program(make);
    program.run(1);
    put(&program, directory.path(), "a", b"aaaabbbb", 0);
    program.run(1);
    assert_eq!(seen.lock()[1], [Bytes::from_static(b"aaaa"), Bytes::from_static(b"bbbb")]);
    put(&program, directory.path(), "cut", b"cccc!", 0);
    program.run(1);
    let error = program.ssc.await_termination_or_timeout(TEST_LIMIT).unwrap_err();
    assert!(error.to_string().contains("whole record of 4 bytes"), "{error}");
    assert!(program.ssc.binary_records_stream(directory.path(), 0).is_err());
}

#[test]
fn text_file_reads_what_save_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let program = Program::new();
    let sc = program.ssc.spark_context();
    let lines: Vec<String> = (0..10_000).map(|n| format!("line {n}")).collect();
    sc.parallelize(lines.clone(), 3).save_as_text_file(&out).unwrap();
    let read = sc.text_file(&out).unwrap();
    assert_eq!(read.num_partitions(), 3);
    assert_eq!(read.map(|line| line.to_string()).collect().unwrap(), lines);
    assert_eq!(sc.text_file(&out.join("part-00000")).unwrap().count().unwrap(), 3333);
    assert!(sc.text_file(&directory.path().join("absent")).is_err());
}
