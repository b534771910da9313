//! The first tier of the simulator: whole clusters in one thread, many thousands of them, each decided by a number.
//!
//! A run is three production brokers with their logs on simulated disks, the production keeper, idempotent producers and a consumer, on a network that delays, doubles, loses and
//! cuts; processes are killed, machines lose their power, sessions expire, disks fill and fail. While it runs, and at its end when everything has been healed, the invariants of the
//! reliability plan are checked. What is simulated is the machine (disk, network, clock, chance, threads: `crates/runtime`) and the clients; the brokers start, elect, replicate,
//! acknowledge, recover and stop by the code that is shipped.
//!
//! Always true: one seed has one history, whatever machine it runs on.
//!
//! # Layout
//! - [`plan`]: what is drawn before a run begins; the rules that can be broken on purpose
//! - [`world`]: the queue of events, and what each does
//! - [`machines`]: what one run leaves to the next
//! - [`server`]: one broker's machine and process; [`network`]: what is between hosts; [`clients`]: producers and consumers
//! - [`faults`]: what goes wrong
//! - [`history`]: what was seen, and what must be true of it; [`ending`]: what must be true at the end
//! - [`chance`]: the numbers of a seed

pub mod admin;
pub mod chance;
pub mod clients;
pub mod ending;
pub mod faults;
pub mod group;
pub mod history;
pub mod machines;
pub mod network;
pub mod plan;
pub mod programs;
pub mod server;
pub mod streams;
pub mod topics;
pub mod world;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use history::Violation;
use machines::Machines;
use plan::{Mischief, Plan};
use programs::Program;
use world::{Event, World};

/// Nothing goes wrong so early: a run is about brokers that have something to lose.
const FIRST_FAULT: Duration = Duration::from_millis(1_500);
/// Longest time in which a healed cluster must be whole again: sessions of 2.5 s, restarts within 4 s, and what they take one after the other.
const RECOVERY_MAX: Duration = Duration::from_secs(40);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(200);

/// A run that broke a promise.
#[derive(Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// When, since the run's beginning.
    pub at: Duration,
    /// What.
    pub violation: Violation,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}, after {:.3} s: {}", self.seed, self.at.as_secs_f64(), self.violation)
    }
}

/// A run that kept all promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// A sum over everything that happened.
    pub digest: u64,
    /// How many events that was.
    pub events: u64,
    /// Values that were acknowledged.
    pub acknowledged: usize,
    /// How long the run was, in simulated time.
    pub took: Duration,
    /// How long it took until the cluster was whole again once it was healed.
    pub recovered_in: Duration,
}

/// Runs a seed.
///
/// # Errors
/// The first promise that was broken.
pub fn run(seed: u64, mischief: Mischief) -> Result<Summary, Failure> {
    run_plan(seed, Plan::of(seed, mischief))
}

/// Runs a seed of the second tier.
///
/// # Errors
/// The first promise that was broken.
pub fn run_streams(seed: u64, mischief: Mischief) -> Result<Summary, Failure> {
    run_plan(seed, Plan::of_streams(seed, mischief))
}

fn run_plan(seed: u64, plan: Plan) -> Result<Summary, Failure> {
    with_world(seed, plan, |world| {
        let troubled = world.plan.troubled;
        world.after(FIRST_FAULT, Event::Fault);
        world.run_until(FIRST_FAULT + troubled)?;
        finish(world)
    })
}

/// Plays a script in a world of its own, and then ends it as every run ends: healed, whole again, and compared.
///
/// # Errors
/// The first promise that was broken.
pub fn play(
    seed: u64,
    plan: Plan,
    script: impl FnOnce(&mut World) -> Result<(), Violation>,
) -> Result<Summary, Failure> {
    with_world(seed, plan, |world| {
        script(world)?;
        finish(world)
    })
}

fn finish(world: &mut World) -> Result<Summary, Violation> {
    faults::heal(world)?;
    let healed = world.now();
    loop {
        world.run_until(world.now() + LOOK)?;
        faults::restart_broken(world);
        let Some(missing) = ending::missing(world) else { break };
        if world.now() > healed + RECOVERY_MAX {
            world.say(|| ending::describe(world));
            return history::broken("I12", format!("{RECOVERY_MAX:?} after everything was healed: {missing}"));
        }
    }
    ending::compare(world).inspect_err(|_| world.say(|| ending::describe(world)))?;
    let (digest, events) = world.history.digest();
    Ok(Summary {
        digest,
        events,
        acknowledged: world.history.acknowledged(),
        took: world.now(),
        recovered_in: world.now() - healed,
    })
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

fn with_world(
    seed: u64,
    plan: Plan,
    play: impl FnOnce(&mut World) -> Result<Summary, Violation>,
) -> Result<Summary, Failure> {
    hear_panics();
    let mut world = World::new(seed, plan, &Machines::anew());
    IS_RUNNING.set(true);
    let played = catch_unwind(AssertUnwindSafe(|| play(&mut world)));
    IS_RUNNING.set(false);
    let at = world.now();
    let result = played.unwrap_or_else(|_| {
        let what = take_panic().unwrap_or_else(|| "a panic without words".to_owned());
        Err(Violation { invariant: "no panic", what })
    });
    for broker in 0..world.servers.len() {
        world.servers[broker].kill(None);
    }
    world.programs.iter_mut().for_each(Program::kill);
    let _ = take_panic();
    result.map_err(|violation| Failure { seed, at, violation })
}

/// A task that panics ends alone; a run must hear of it.
fn hear_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if IS_RUNNING.get() {
                let text = panic.to_string();
                PANIC.with(|heard| {
                    heard.borrow_mut().get_or_insert(text);
                });
            } else {
                before(panic);
            }
        }));
    });
}

/// What a broker's task panicked with since the last call.
fn take_panic() -> Option<String> {
    PANIC.with(|heard| heard.borrow_mut().take())
}
