//! The script: what clients do to a keeper in a day, in 300 steps, over several lives of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use protocol::zookeeper::*;
use runtime::sim_disk::{Moment, Seeded};
use runtime::{Clock, Disk, SimDisk};
use tidemill_keeper::{Keeper, KeeperConfig};

use crate::common::{self, Client, NOTHING, create_request, no_session, until};
use crate::oracle::{Op, Session, State, look};

/// A session that expires while the script looks on.
const SHORT_MS: i32 = 400;
/// A session that outlives the script.
const LONG_MS: i32 = 60_000;
/// Most nodes that are made before some go.
const NODES_MAX: usize = 40;

/// A script that has been run.
pub struct Run {
    /// The disk after every change.
    pub past: Vec<Moment>,
    /// What must be there when so many transactions are done.
    pub states: Vec<State>,
    /// `(moment, zxid)`: from that moment on everything up to zxid was answered.
    pub answered: Vec<(usize, i64)>,
    /// `(moment, zxid)`: before that moment nothing from zxid on was asked for.
    pub asked: Vec<(usize, i64)>,
    /// When each transaction happened, as far as clients saw it.
    pub times: BTreeMap<i64, i64>,
    /// Every session there ever was.
    pub sessions: BTreeMap<i64, Session>,
    /// Name of the last step begun at each moment.
    pub steps: Vec<(usize, String)>,
}

struct Script {
    random: Seeded,
    seed: u64,
    sim: SimDisk,
    keeper: Option<Keeper>,
    main: Option<Client>,
    second: Option<Client>,
    /// Moments of earlier lives.
    before: usize,
    run: Run,
    values: u32,
}

/// Small files, so that snapshots, new log files and their ends all come often.
pub fn config(seed: u64) -> KeeperConfig {
    let mut config = common::config(Path::new("/keeper"));
    config.snap_count = 40;
    config.log_segment_bytes = 6000;
    config.pre_alloc_bytes = 2048;
    config.data_log_dir = seed.is_multiple_of(2).then(|| "/log/of/keeper".into());
    config.min_session_timeout_ms = Some(SHORT_MS);
    config
}

/// Takes up a session; `None` where the keeper does not know it.
pub fn resume(keeper: &Keeper, id: i64, session: &Session) -> Option<Client> {
    let request = ConnectRequest {
        timeout_ms: session.timeout_ms,
        session_id: id,
        password: Some(session.password.clone()),
        ..no_session()
    };
    let client = Client::handshake(keeper.local_addr(), request).expect("the keeper answers");
    (client.session() == id).then_some(client)
}

/// A request for a change.
pub fn send(client: &mut Client, op: &Op) -> i32 {
    match op {
        Op::Create { path, data, mode, .. } => client.send(OpCode::Create, &create_request(path, data, *mode)),
        Op::Delete { path, version } => {
            client.send(OpCode::Delete, &DeleteRequest { path: path.clone(), version: *version })
        }
        Op::Set { path, data, version } => client.send(OpCode::SetData, &set_request(path, data, *version)),
        Op::SetAcl { path, acl, version } => {
            client.send(OpCode::SetAcl, &SetAclRequest { path: path.clone(), acl: acl.clone(), version: *version })
        }
        Op::Multi(ops) => {
            let ops = ops.iter().map(|op| match op {
                Op::Create { path, data, mode, .. } => MultiOp::Create(create_request(path, data, *mode)),
                Op::Delete { path, version } => {
                    MultiOp::Delete(DeleteRequest { path: path.clone(), version: *version })
                }
                Op::Set { path, data, version } => MultiOp::SetData(set_request(path, data, *version)),
                other => panic!("no {other:?} in a multi"),
            });
            client.send(OpCode::Multi, &MultiRequest { ops: ops.collect() })
        }
        Op::OpenSession { .. } | Op::CloseSession { .. } => panic!("{op:?} is no request"),
    }
}

fn set_request(path: &str, data: &str, version: i32) -> SetDataRequest {
    SetDataRequest { path: path.into(), data: Some(Bytes::copy_from_slice(data.as_bytes())), version }
}

/// Runs the script of a seed.
pub fn run(seed: u64, steps: usize) -> Run {
    let sim = SimDisk::new();
    sim.record();
    let run = Run {
        past: Vec::new(),
        states: vec![State::new()],
        answered: vec![(0, 0)],
        asked: vec![(0, 1)],
        times: BTreeMap::new(),
        sessions: BTreeMap::new(),
        steps: vec![(0, "start".to_owned())],
    };
    let mut script = Script {
        random: Seeded::new(seed),
        seed,
        sim,
        keeper: None,
        main: None,
        second: None,
        before: 0,
        run,
        values: 0,
    };
    script.start();
    for step in 0..steps {
        let what = script.step();
        let moment = script.moment();
        script.run.steps.push((moment, format!("{step} ({what})")));
    }
    script.look();
    script.end_life(None);
    script.run
}

impl Script {
    fn moment(&self) -> usize {
        self.before + self.sim.changes() as usize
    }

    fn state(&self) -> &State {
        self.run.states.last().expect("there is a first one")
    }

    fn main(&mut self) -> &mut Client {
        self.main.as_mut().expect("the script is connected")
    }

    /// So many transactions more are asked for.
    fn ask(&mut self, count: i64) {
        let (moment, zxid) = (self.moment(), self.state().zxid);
        self.run.asked.push((moment, zxid + count + 1));
    }

    /// One more transaction was answered, or its effect was seen.
    fn answered(&mut self, op: &Op) -> Result<Vec<String>, ErrorCode> {
        let moment = self.moment();
        let result = self.done(op);
        let zxid = self.state().zxid;
        self.run.answered.push((moment, zxid));
        result
    }

    /// One more transaction is known to have happened.
    fn done(&mut self, op: &Op) -> Result<Vec<String>, ErrorCode> {
        let mut next = self.state().clone();
        let result = next.apply(op);
        self.run.states.push(next);
        result
    }

    fn start(&mut self) {
        let keeper = Keeper::start_on(Disk::Sim(self.sim), config(self.seed)).unwrap();
        self.keeper = Some(keeper);
        for second in [false, true] {
            let client = self.connect(LONG_MS);
            if second { self.second = Some(client) } else { self.main = Some(client) }
        }
    }

    /// Opens a session.
    fn connect(&mut self, timeout_ms: i32) -> Client {
        self.ask(1);
        let client = Client::connect(self.keeper.as_ref().unwrap().local_addr(), timeout_ms);
        let session = Session { timeout_ms, password: client.hello.password.clone().unwrap() };
        self.run.sessions.insert(client.session(), session.clone());
        self.answered(&Op::OpenSession { id: client.session(), session }).unwrap();
        client
    }

    /// Ends this life of the keeper, by a stop or by a kill at one moment, and keeps what the disk was like at every moment of it.
    fn end_life(&mut self, killed: Option<usize>) {
        (self.main, self.second) = (None, None);
        let keeper = self.keeper.take().unwrap();
        match killed {
            None => {
                common::block_on(keeper.shutdown()).unwrap();
                self.run.past.extend(self.sim.take_past());
            }
            Some(killed) => {
                self.run.past.extend(self.sim.take_past());
                self.run.past.truncate(killed + 1);
                // Whatever it still does is done to a disk that nobody looks at any more.
                drop(keeper);
            }
        }
        self.before = self.run.past.len();
        let next = SimDisk::new();
        next.become_moment(self.run.past.last().unwrap());
        next.record();
        self.sim.reset();
        self.sim = next;
    }

    /// The next life: the same state, and sessions that go on.
    fn next_life(&mut self, sessions: [i64; 2]) {
        self.keeper = Some(Keeper::start_on(Disk::Sim(self.sim), config(self.seed)).unwrap());
        let resumed = sessions.map(|id| resume(self.keeper.as_ref().unwrap(), id, &self.run.sessions[&id]));
        let [main, second] = resumed.map(|client| client.expect("the session goes on"));
        (self.main, self.second) = (Some(main), Some(second));
    }

    fn sessions(&self) -> [i64; 2] {
        [&self.main, &self.second].map(|client| client.as_ref().unwrap().session())
    }

    /// Compares the keeper with the oracle and learns times.
    fn look(&mut self) {
        let seen = look(self.main());
        let place = format!("script {} while it runs", self.seed);
        self.state().check(&seen, &self.run.times, &place);
        for node in seen.values() {
            self.run.times.insert(node.stat.czxid, node.stat.ctime);
            self.run.times.insert(node.stat.mzxid, node.stat.mtime);
        }
    }

    fn step(&mut self) -> &'static str {
        match self.random.below(100) {
            0..30 => self.one(|script, session| script.create(session), "create"),
            30..46 => self.one(|script, _| script.set(), "set"),
            46..58 => self.one(|script, _| script.delete(), "delete"),
            58..62 => self.one(|script, _| script.set_acl(), "setACL"),
            62..72 => self.one(Script::multi, "multi"),
            72..82 => self.burst(),
            82..86 => self.open_and_close(),
            86..87 => self.expire(),
            87..90 => self.restart(),
            90..93 => self.kill(),
            93..94 => self.full_disk(),
            94..96 => {
                // The log rests and marks its end.
                Clock::real().block_for(Duration::from_millis(30));
                "rest"
            }
            _ => {
                self.look();
                "look"
            }
        }
    }

    fn value(&mut self) -> String {
        self.values += 1;
        let length = self.random.below(160) as usize;
        format!("{}{}", self.values, "x".repeat(length))
    }

    fn version(&mut self, current: i32) -> i32 {
        match self.random.below(8) {
            0 => current + 1,
            1..4 => current,
            _ => -1,
        }
    }

    fn any_path(&mut self) -> String {
        let at = self.random.below(self.state().nodes.len() as u64) as usize;
        self.state().nodes.keys().nth(at).expect("it is below the count").clone()
    }

    fn create(&mut self, session: i64) -> Op {
        if self.state().nodes.len() > NODES_MAX {
            return self.delete();
        }
        let below = self.any_path();
        let below = if below == "/" { "" } else { &below };
        let path = format!("{below}/n{}", self.random.below(8));
        let modes = [
            CreateMode::Persistent,
            CreateMode::Persistent,
            CreateMode::PersistentSequential,
            CreateMode::Ephemeral,
            CreateMode::EphemeralSequential,
        ];
        let mode = modes[self.random.below(modes.len() as u64) as usize];
        Op::Create { path, data: self.value(), mode, session }
    }

    fn set(&mut self) -> Op {
        let path = self.any_path();
        let version = self.version(self.state().nodes[&path].version);
        Op::Set { path, data: self.value(), version }
    }

    fn delete(&mut self) -> Op {
        let path = match self.any_path() {
            // Another error, which is of no interest here.
            root if root == "/" => "/none".to_owned(),
            path => path,
        };
        let version = self.state().nodes.get(&path).map_or(0, |node| node.version);
        Op::Delete { path, version: self.version(version) }
    }

    fn set_acl(&mut self) -> Op {
        let path = self.any_path();
        let version = self.version(self.state().nodes[&path].aversion);
        let mut acl = Acl::open();
        for user in 0..self.random.below(3) {
            let id = Id { scheme: "digest".into(), id: format!("user{user}:hash") };
            acl.push(Acl { perms: perms::READ, id });
        }
        Op::SetAcl { path, acl, version }
    }

    fn multi(&mut self, session: i64) -> Op {
        let count = 1 + self.random.below(4);
        let ops = (0..count).map(|_| match self.random.below(3) {
            0 => self.set(),
            1 => self.delete(),
            _ => self.create(session),
        });
        Op::Multi(ops.collect())
    }

    fn change(&mut self, session: i64) -> Op {
        match self.random.below(10) {
            0..4 => self.create(session),
            4..7 => self.set(),
            7..9 => self.delete(),
            _ => self.multi(session),
        }
    }

    /// One request, and its answer.
    fn one(&mut self, op: impl FnOnce(&mut Script, i64) -> Op, what: &'static str) -> &'static str {
        let session = self.main().session();
        let op = op(self, session);
        self.ask(1);
        let xid = send(self.main(), &op);
        let reply = self.main().wait(xid);
        let expected = self.answered(&op);
        check_reply(&reply, &op, self.state().zxid, &expected);
        what
    }

    /// Two clients ask for several things without waiting.
    fn burst(&mut self) -> &'static str {
        let [one, two] = self.sessions();
        let ops: Vec<(usize, Op)> = (0..2 + self.random.below(8))
            .map(|_| match self.random.below(2) {
                0 => (0, self.change(one)),
                _ => (1, self.change(two)),
            })
            .collect();
        self.ask(ops.len() as i64);
        let mut clients = [self.main.take().unwrap(), self.second.take().unwrap()];
        let sent: Vec<(usize, i32)> = ops.iter().map(|(who, op)| (*who, send(&mut clients[*who], op))).collect();
        let mut replies = Vec::new();
        for ((who, xid), (_, op)) in sent.into_iter().zip(&ops) {
            let reply = clients[who].wait(xid);
            replies.push((reply.header.zxid, self.moment(), reply, op));
        }
        let [main, second] = clients;
        (self.main, self.second) = (Some(main), Some(second));
        replies.sort_by_key(|(zxid, ..)| *zxid);
        for (zxid, moment, reply, op) in replies {
            let expected = self.done(op);
            check_reply(&reply, op, self.state().zxid, &expected);
            self.run.answered.push((moment, zxid));
        }
        "burst"
    }

    fn open_and_close(&mut self) -> &'static str {
        let mut client = self.connect(LONG_MS);
        let id = client.session();
        for name in ["x", "y"] {
            let path = format!("/{name}{id:x}");
            let op = Op::Create { path, data: self.value(), mode: CreateMode::Ephemeral, session: id };
            self.ask(1);
            let xid = send(&mut client, &op);
            client.wait(xid);
            self.answered(&op).unwrap();
        }
        self.ask(1);
        client.call(OpCode::CloseSession, &NOTHING);
        self.answered(&Op::CloseSession { id }).unwrap();
        "open and close a session"
    }

    fn expire(&mut self) -> &'static str {
        let mut client = self.connect(SHORT_MS);
        let id = client.session();
        let path = format!("/z{id:x}");
        let op = Op::Create { path: path.clone(), data: self.value(), mode: CreateMode::Ephemeral, session: id };
        // It may expire as soon as it is there.
        self.ask(2);
        let xid = send(&mut client, &op);
        client.wait(xid);
        self.answered(&op).unwrap();
        drop(client);
        let main = self.main();
        until("the session expires", || !main.exists(&path));
        self.answered(&Op::CloseSession { id }).unwrap();
        "expire a session"
    }

    /// The disk is full for a while: writes are done or refused, and what is refused is not done.
    fn full_disk(&mut self) -> &'static str {
        let room = self.random.below(3000);
        self.sim.set_capacity(Some(self.sim.used_bytes() + room));
        let mut refused = 0;
        while refused < 3 {
            let session = self.main().session();
            let op = self.change(session);
            self.ask(1);
            let xid = send(self.main(), &op);
            let reply = self.main().wait(xid);
            if reply.header.err == ErrorCode::OperationTimeout {
                refused += 1;
            } else {
                let expected = self.answered(&op);
                check_reply(&reply, &op, self.state().zxid, &expected);
            }
            self.look();
        }
        self.sim.set_capacity(None);
        let keeper = self.keeper.as_ref().unwrap();
        until("the keeper takes writes again", || !keeper.status().disk_full);
        self.one(|script, session| script.create(session), "create");
        "full disk"
    }

    fn restart(&mut self) -> &'static str {
        let sessions = self.sessions();
        self.end_life(None);
        self.next_life(sessions);
        self.look();
        "restart"
    }

    /// `kill -9` at any moment of a burst: after it nobody heard an answer.
    fn kill(&mut self) -> &'static str {
        let sessions = self.sessions();
        let ops: Vec<Op> = (0..1 + self.random.below(8)).map(|_| self.change(sessions[0])).collect();
        let first = self.moment();
        self.ask(ops.len() as i64);
        let mut answers = Vec::new();
        for some in ops.chunks(3) {
            let xids: Vec<i32> = some.iter().map(|op| send(self.main(), op)).collect();
            for xid in xids {
                let reply = self.main().wait(xid);
                answers.push((self.moment(), reply));
            }
        }
        let killed = first + self.random.below((self.moment() - first + 1) as u64) as usize;
        let heard = answers.iter().filter(|(moment, _)| *moment <= killed).count();
        for ((moment, reply), op) in answers.iter().zip(&ops).take(heard) {
            let expected = self.done(op);
            let zxid = self.state().zxid;
            check_reply(reply, op, zxid, &expected);
            self.run.answered.push((*moment, zxid));
        }
        self.end_life(Some(killed));
        self.next_life(sessions);
        // What was not answered may have happened, in order.
        let zxid = self.keeper.as_ref().unwrap().status().zxid;
        let unheard = usize::try_from(zxid - self.state().zxid).expect("what was answered is there");
        for op in &ops[heard..heard + unheard] {
            let _ = self.answered(op);
        }
        // What did not happen will not either.
        let moment = self.moment();
        self.run.asked.push((moment, zxid + 1));
        self.look();
        "kill -9"
    }
}

/// The answer is the one the oracle gives.
pub fn check_reply(reply: &common::Reply, op: &Op, zxid: i64, expected: &Result<Vec<String>, ErrorCode>) {
    assert_eq!(reply.header.zxid, zxid, "{op:?}");
    match (op, expected) {
        (Op::Multi(_), expected) => {
            let results = reply.read::<MultiResponse>().results;
            let error = results.iter().find_map(|result| match result {
                MultiResult::Error(code) if *code != ErrorCode::Ok => Some(*code),
                _ => None,
            });
            assert_eq!(error, expected.as_ref().err().copied(), "{op:?}");
        }
        (Op::Create { .. }, Ok(paths)) => assert_eq!(reply.read::<CreateResponse>().path, paths[0], "{op:?}"),
        (_, expected) => {
            let code = expected.as_ref().err().copied().unwrap_or(ErrorCode::Ok);
            assert_eq!(reply.header.err, code, "{op:?}");
        }
    }
}
