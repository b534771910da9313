//! The kinds of load. Each runs for a time against one server, on nodes of its own.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Server;
use crate::connection::{self, CREATE, Connection, GET_DATA, MULTI, SET_DATA};
use crate::process::Process;
use crate::table::{Cost, Sample};

/// Nodes that sets and gets go to.
const NODES: u64 = 1024;

/// Bytes of a node's data.
const DATA_BYTES: usize = 100;

/// Sessions that watch one node.
const WATCHERS: usize = 200;

/// Writes of a multi, behind its check: what a controller does for ten partitions.
const MULTI_WRITES: u64 = 10;

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Durable writes of existing nodes, one connection, so many outstanding.
    Set(usize),
    /// Reads, likewise.
    Get(usize),
    /// Durable creates, likewise.
    Create(usize),
    /// One check and ten writes in one request, likewise.
    Multi(usize),
    /// As `Set`, from so many connections with one request outstanding each.
    SetFrom(usize),
    /// As `Get`, likewise.
    GetFrom(usize),
    /// One write that many sessions watch.
    Watch,
}

impl Phase {
    pub const ALL: &'static [Phase] = &[
        Phase::Set(1),
        Phase::Set(64),
        Phase::Set(1000),
        Phase::Create(64),
        Phase::Multi(64),
        Phase::Get(1),
        Phase::Get(64),
        Phase::Get(1000),
        Phase::SetFrom(64),
        Phase::GetFrom(64),
        Phase::Watch,
    ];

    pub fn name(self) -> String {
        match self {
            Phase::Set(outstanding) => format!("set-{outstanding}"),
            Phase::Get(outstanding) => format!("get-{outstanding}"),
            Phase::Create(outstanding) => format!("create-{outstanding}"),
            Phase::Multi(outstanding) => format!("multi-{outstanding}"),
            Phase::SetFrom(clients) => format!("set-from-{clients}"),
            Phase::GetFrom(clients) => format!("get-from-{clients}"),
            Phase::Watch => "watch".to_owned(),
        }
    }

    pub fn named(name: &str) -> Option<Phase> {
        Phase::ALL.iter().copied().find(|phase| phase.name() == name)
    }

    fn title(self) -> String {
        match self {
            Phase::Set(outstanding) => format!("setData, {outstanding} outstanding"),
            Phase::Get(outstanding) => format!("getData, {outstanding} outstanding"),
            Phase::Create(outstanding) => format!("create, {outstanding} outstanding"),
            Phase::Multi(outstanding) => format!("multi of 1 check and {MULTI_WRITES} sets, {outstanding} outstanding"),
            Phase::SetFrom(clients) => format!("setData, {clients} connections with 1 each"),
            Phase::GetFrom(clients) => format!("getData, {clients} connections with 1 each"),
            Phase::Watch => format!("event to {WATCHERS} watching sessions"),
        }
    }
}

/// Nodes of one run against one server.
struct Nodes {
    base: String,
    data: Vec<u8>,
}

impl Nodes {
    fn make(connection: &mut Connection) -> io::Result<Nodes> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let nodes = Nodes { base: format!("/load{now}"), data: (0..DATA_BYTES).map(|i| i as u8).collect() };
        let mut made = connection.call(CREATE, &connection::create(&nodes.base, b""))?.error;
        for number in 0..NODES {
            connection.ask(CREATE, &connection::create(&nodes.path(number), &nodes.data));
        }
        connection.write_out()?;
        for _ in 0..NODES {
            made |= connection.reply()?.error;
        }
        if made == 0 { Ok(nodes) } else { Err(io::Error::other(format!("cannot make nodes: error {made}"))) }
    }

    fn path(&self, number: u64) -> String {
        // A stride that is prime to the count: neighbours in time are no neighbours in the tree.
        format!("{}/{:05}", self.base, number * 7919 % NODES)
    }

    fn request(&self, phase: Phase, number: u64) -> (i32, Vec<u8>) {
        match phase {
            Phase::Set(_) | Phase::SetFrom(_) | Phase::Watch => {
                (SET_DATA, connection::set_data(&self.path(number), &self.data))
            }
            Phase::Get(_) | Phase::GetFrom(_) => (GET_DATA, connection::get_data(&self.path(number), false)),
            Phase::Create(_) => {
                (CREATE, connection::create(&format!("{}/made{number:09}", self.base), &self.data))
            }
            Phase::Multi(_) => {
                let first = number * MULTI_WRITES;
                let sets: Vec<_> = (first..first + MULTI_WRITES)
                    .map(|number| (SET_DATA, connection::set_data(&self.path(number), &self.data)))
                    .collect();
                (MULTI, connection::multi(Some((&self.base, 0)), &sets))
            }
        }
    }
}

/// Runs writes and reads without looking at the clock of anybody.
pub fn warm_up(server: &Server, time: Duration) -> io::Result<()> {
    for phase in [Phase::Set(64), Phase::Get(64), Phase::Create(64)] {
        run(phase, server, time / 2)?;
    }
    Ok(())
}

/// Runs one kind of load.
pub fn run(phase: Phase, server: &Server, time: Duration) -> io::Result<Option<Sample>> {
    let mut first = Connection::open(&server.address)?;
    let nodes = Nodes::make(&mut first)?;
    let (clients, outstanding) = match phase {
        Phase::Set(outstanding) | Phase::Get(outstanding) | Phase::Create(outstanding) | Phase::Multi(outstanding) => {
            (1, outstanding)
        }
        Phase::SetFrom(clients) | Phase::GetFrom(clients) => (clients, 1),
        Phase::Watch => return watch(server, first, &nodes, time).map(Some),
    };
    let mut connections = vec![first];
    while connections.len() < clients {
        connections.push(Connection::open(&server.address)?);
    }
    let (cpu, own, started) = (server.process.cpu_s(), Process::own().cpu_s(), Instant::now());
    let ends = started + time;
    let (mut number, mut errors) = (0, 0);
    let mut latencies = Vec::new();
    let mut open = true;
    while open || connections.iter().any(|connection| connection.outstanding() > 0) {
        open = open && Instant::now() < ends;
        for connection in &mut connections {
            while open && connection.outstanding() < outstanding && !connection.is_full() {
                let (op, body) = nodes.request(phase, number);
                connection.ask(op, &body);
                number += 1;
            }
            connection.write_out()?;
        }
        for connection in &mut connections {
            // One reply is waited for, and what has come with it is taken.
            while connection.outstanding() > 0 {
                let reply = connection.reply()?;
                latencies.push(reply.asked.elapsed());
                let failed = reply.error != 0 || (matches!(phase, Phase::Multi(_)) && connection::multi_failed(&reply));
                errors += u64::from(failed);
                if !connection.has_buffered() {
                    break;
                }
            }
        }
    }
    let cost = Cost { wall: started.elapsed(), server_cpu_s: server.process.cpu_s() - cpu, load_cpu_s: Process::own().cpu_s() - own };
    Ok(Some(Sample::new(server, phase.title(), latencies, errors, cost)))
}

/// One session writes, all others have watched; counted is each event, timed from the write to its arrival.
fn watch(server: &Server, mut writer: Connection, nodes: &Nodes, time: Duration) -> io::Result<Sample> {
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(Connection::open(&server.address)?);
    }
    let (cpu, own, started) = (server.process.cpu_s(), Process::own().cpu_s(), Instant::now());
    let (mut latencies, mut errors) = (Vec::new(), 0);
    let (watched, again) = (connection::get_data(&nodes.base, true), connection::get_data(&nodes.base, false));
    while started.elapsed() < time {
        for watcher in &mut watchers {
            watcher.ask(GET_DATA, &watched);
            watcher.write_out()?;
        }
        for watcher in &mut watchers {
            errors += u64::from(watcher.reply()?.error != 0);
        }
        let written = Instant::now();
        errors += u64::from(writer.call(SET_DATA, &connection::set_data(&nodes.base, &nodes.data))?.error != 0);
        for watcher in &mut watchers {
            // The event precedes the reply to any later request, so the reply tells that it came.
            watcher.ask(GET_DATA, &again);
            watcher.write_out()?;
        }
        for watcher in &mut watchers {
            errors += u64::from(watcher.reply()?.error != 0);
            latencies.push(written.elapsed());
        }
    }
    let cost = Cost { wall: started.elapsed(), server_cpu_s: server.process.cpu_s() - cpu, load_cpu_s: Process::own().cpu_s() - own };
    Ok(Sample::new(server, Phase::Watch.title(), latencies, errors, cost))
}
