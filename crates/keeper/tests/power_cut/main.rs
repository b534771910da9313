//! Power cuts: a script of 300 steps runs once against a keeper on a simulated disk, and the power goes after every single write, sync and change of a name that it made.
//!
//! After each cut the keeper is started again: it must start, and hold exactly what a tree holds after some transaction of the script's history, no earlier than the last one that
//! was answered: nodes, data, versions, zxids, times, ACLs, sessions with their passwords. After every fifth cut it is written to, and the power is cut again.
//! `TIDEMILL_CAMPAIGN_SEEDS=N` runs N scripts with N ways to lose power each (docs/RELIABILITY.md); the default is one of each.

#[allow(dead_code, reason = "shared with the tests of a running server")]
#[path = "../server/common.rs"]
mod common;
mod oracle;
mod script;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::zookeeper::CreateMode;
use runtime::sim_disk::Seeded;
use runtime::{Disk, SimDisk};
use tidemill_keeper::Keeper;

use common::Client;
use oracle::{Op, State, look};
use script::{Run, check_reply, config, resume, send};

/// Steps of a script.
const STEPS: usize = 300;
/// After one in so many cuts the keeper is written to, and the power is cut again.
const CUT_AGAIN_EVERY: usize = 5;
/// Threads that cut.
const WORKERS: usize = 4;

fn seeds() -> u64 {
    std::env::var("TIDEMILL_CAMPAIGN_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(1)
}

#[test]
fn what_was_answered_outlasts_a_power_cut_at_every_change() {
    let mut cuts = 0;
    for seed in 1..=seeds() {
        let run = Arc::new(script::run(seed, STEPS));
        for cut_seed in 0..seeds() {
            let next = Arc::new(AtomicUsize::new(0));
            let workers: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let (run, next) = (run.clone(), next.clone());
                    let body = move || {
                        let (scratch, again) = (SimDisk::new(), SimDisk::new());
                        loop {
                            let moment = next.fetch_add(1, Ordering::Relaxed);
                            if moment >= run.past.len() {
                                break;
                            }
                            cut(&run, seed, cut_seed, moment, scratch, again);
                        }
                    };
                    runtime::thread(format!("cutter-{worker}"), body).unwrap()
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            cuts += run.past.len();
        }
    }
    println!("{cuts} power cuts");
    assert!(cuts > 1000, "only {cuts} moments to cut at");
}

/// Cuts the power at one moment of a script, and looks at what a start makes of it.
fn cut(run: &Run, seed: u64, cut_seed: u64, moment: usize, scratch: SimDisk, again: SimDisk) {
    let step = run.steps.iter().rfind(|(at, _)| *at <= moment).map_or("none", |(_, step)| step);
    let place =
        format!("script {seed}, after change {moment} of {}, cut {cut_seed}, behind step {step}", run.past.len());
    scratch.become_moment(&run.past[moment]);
    scratch.power_cut(Seeded::new(seed << 32 | cut_seed << 24 | moment as u64).next_u64());
    // A disk that was full may have no room for the lock file.
    scratch.set_capacity(None);
    let keeper = match Keeper::start_on(Disk::Sim(scratch), config(seed)) {
        Ok(keeper) => keeper,
        Err(error) => panic!("{place}: {error}: {:?}", error.cause()),
    };
    let zxid = keeper.status().zxid;
    let at_least = run.answered.iter().filter(|(at, _)| *at <= moment).map(|(_, zxid)| *zxid).max().unwrap_or(0);
    let below = run.asked.iter().rfind(|(at, _)| *at <= moment).map_or(0, |(_, zxid)| *zxid);
    assert!((at_least..below).contains(&zxid), "{place}: zxid {zxid} of {at_least}..{below}");
    let state = &run.states[zxid as usize];
    let mut client = check(run, &keeper, state, moment, &place);
    if moment.is_multiple_of(CUT_AGAIN_EVERY) {
        write_and_cut_again(run, seed, &mut client, &keeper, state.clone(), scratch, again, &place);
    }
    drop(client);
    drop(keeper);
}

/// Compares everything with the state; gives a client with a session.
fn check(run: &Run, keeper: &Keeper, state: &State, moment: usize, place: &str) -> Client {
    assert_eq!(keeper.status().session_count, state.sessions.len() as u64, "{place}: sessions");
    let mut client = None;
    for (id, session) in &run.sessions {
        if state.sessions.contains_key(id) {
            client = Some(resume(keeper, *id, session).unwrap_or_else(|| panic!("{place}: session 0x{id:x} is gone")));
        } else if moment.is_multiple_of(CUT_AGAIN_EVERY) {
            assert!(resume(keeper, *id, session).is_none(), "{place}: session 0x{id:x} is back");
        }
    }
    let mut client = client.unwrap_or_else(|| Client::connect(keeper.local_addr(), 10_000));
    state.check(&look(&mut client), &run.times, place);
    client
}

/// A keeper that was recovered goes on, and what it answers outlasts the next power cut.
#[allow(clippy::too_many_arguments, reason = "all of it is the place where it happens")]
fn write_and_cut_again(
    run: &Run,
    seed: u64,
    client: &mut Client,
    keeper: &Keeper,
    mut state: State,
    scratch: SimDisk,
    again: SimDisk,
    place: &str,
) {
    // Where there was no session, there is one now, which the history knows nothing of.
    let known = state.sessions.contains_key(&client.session());
    state.zxid = keeper.status().zxid;
    for number in 0..3 {
        let path = format!("/after-the-cut-{number}");
        let op = Op::Create { path, data: place.into(), mode: CreateMode::Persistent, session: client.session() };
        let xid = send(client, &op);
        let reply = client.wait(xid);
        let expected = state.apply(&op);
        check_reply(&reply, &op, state.zxid, &expected);
    }
    again.become_moment(&scratch.moment());
    again.power_cut(7);
    let keeper = match Keeper::start_on(Disk::Sim(again), config(seed)) {
        Ok(keeper) => keeper,
        Err(error) => panic!("{place}, cut again: {error}: {:?}", error.cause()),
    };
    assert_eq!(keeper.status().zxid, state.zxid, "{place}, cut again");
    if known {
        let id = client.session();
        let mut client = resume(&keeper, id, &run.sessions[&id]).expect("the session goes on");
        let times = run.times.iter().filter(|(zxid, _)| **zxid <= state.zxid - 3).map(|(zxid, ms)| (*zxid, *ms));
        state.check(&look(&mut client), &times.collect(), &format!("{place}, cut again"));
    }
}
