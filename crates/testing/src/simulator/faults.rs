//! What goes wrong, and how it is mended.

use std::time::Duration;

use runtime::sim_disk::{Fault, Operation};

use super::chance::Chance;
use super::history::Violation;
use super::network::{Node, Weather};
use super::plan::{Endings, Tier};
use super::streams::Way;
use super::world::{Event, World};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A broker is killed and started again (F1).
    Kill,
    /// All brokers are killed at once (F2).
    KillAll,
    /// A broker's machine loses its power (F15, F16).
    PowerCut,
    /// All machines lose their power.
    PowerCutAll,
    /// A broker is stopped in good order and started again (F3).
    ShutDown,
    /// A broker stands still (F4).
    Pause,
    /// Two hosts do not hear each other (F5).
    Cut,
    /// One host does not hear another (F6).
    CutOneWay,
    /// A broker is cut off from ZooKeeper, wholly or one way (F7).
    CutZooKeeper,
    /// A broker is cut off from all other brokers (F8).
    Isolate,
    /// ZooKeeper ends a session (F20).
    Expire,
    /// A disk is full for a while (F12).
    DiskFull,
    /// Writes or syncs of a disk fail for a while (F13).
    DiskFails,
    /// Reads of a disk fail for a while: latent errors.
    ReadsFail,
    /// Connections stand still in a direction for a while; second tier only, as all below.
    Stall,
    /// Connections are reset.
    Reset,
    /// Connections break in the middle of a frame.
    CutMidFrame,
    /// All connections to ZooKeeper are lost at once.
    ZooKeeperLost,
    /// A client is killed and started again.
    KillClient,
    /// A client ends in good order and is started again.
    CloseClient,
}

/// How a fault ends.
#[derive(Debug)]
pub enum Mend {
    /// These links carry again.
    Links(Vec<(Node, Node)>),
    /// A broker's disk works again.
    Disk(usize),
}

impl Kind {
    /// The faults of a run: some of all there are.
    pub fn some(chance: &mut Chance, tier: Tier, endings: Endings) -> Vec<Kind> {
        let both = [
            Kind::Kill,
            Kind::KillAll,
            Kind::PowerCut,
            Kind::PowerCutAll,
            Kind::ShutDown,
            Kind::Pause,
            Kind::Cut,
            Kind::CutOneWay,
            Kind::CutZooKeeper,
            Kind::Isolate,
            Kind::Expire,
            Kind::DiskFull,
            Kind::DiskFails,
            Kind::ReadsFail,
        ];
        let may = |kind: &Kind| endings == Endings::PowerCuts || !matches!(kind, Kind::PowerCut | Kind::PowerCutAll);
        let second: &[Kind] = match tier {
            Tier::Messages => &[],
            Tier::Streams => {
                &[Kind::Stall, Kind::Reset, Kind::CutMidFrame, Kind::ZooKeeperLost, Kind::KillClient, Kind::CloseClient]
            }
        };
        let possible: Vec<Kind> = both.iter().chain(second).copied().filter(may).collect();
        // Fewer kinds meet more often.
        let share = chance.one_of(&[200, 400, 700, 1000]);
        let mut some: Vec<Kind> = possible.iter().copied().filter(|_| chance.permille(share)).collect();
        if some.is_empty() {
            some.push(chance.one_of(&possible));
        }
        some
    }
}

/// Something goes wrong, and the next thing is planned.
///
/// # Errors
/// A broken promise.
pub fn strike(world: &mut World) -> Result<(), Violation> {
    if !world.is_busy {
        return Ok(());
    }
    let pause = world.chance.ms(world.plan.fault_ms.0, world.plan.fault_ms.1);
    world.after(pause, Event::Fault);
    let kinds = world.plan.faults.clone();
    let kind = world.chance.one_of(&kinds);
    let broker = world.chance.below(world.plan.brokers as u64) as usize;
    let zookeeper = world.zookeeper();
    let lasts = world.chance.ms(100, 5_000);
    world.say(|| format!("fault: {kind:?} of broker {broker}"));
    match kind {
        Kind::Kill => end(world, &[broker], false),
        Kind::KillAll => end(world, &all(world), false),
        Kind::PowerCut => end(world, &[broker], true),
        Kind::PowerCutAll => end(world, &all(world), true),
        Kind::ShutDown => return world.shut_down(broker),
        Kind::Pause => {
            if world.servers[broker].process.is_some() {
                world.servers[broker].is_paused = true;
                let life = world.servers[broker].life;
                world.after(lasts, Event::Resume(broker, life));
            }
        }
        Kind::Cut | Kind::CutOneWay => {
            let other = other_host(world, broker);
            let mut links = vec![(broker, other)];
            match kind {
                Kind::Cut => links.push((other, broker)),
                _ if world.chance.permille(500) => links[0] = (other, broker),
                _ => {}
            }
            cut(world, links, lasts);
        }
        Kind::CutZooKeeper => {
            let ways =
                [vec![(broker, zookeeper)], vec![(zookeeper, broker)], vec![(broker, zookeeper), (zookeeper, broker)]];
            let links = ways[world.chance.below(3) as usize].clone();
            cut(world, links, lasts);
        }
        Kind::Isolate => {
            let others = (0..world.plan.brokers).filter(|other| *other != broker);
            let links = others.flat_map(|other| [(broker, other), (other, broker)]).collect();
            cut(world, links, lasts);
        }
        Kind::Expire => {
            let sessions = world.keeper.sessions();
            if !sessions.is_empty() {
                let session = world.chance.one_of(&sessions);
                world.keeper.expire(session);
                return world.hear_keeper();
            }
        }
        Kind::DiskFull => {
            let disk = world.servers[broker].disk;
            let room = world.chance.below(3_000);
            disk.set_capacity(Some(disk.used_bytes() + room));
            world.after(lasts, Event::Mend(Mend::Disk(broker)));
        }
        Kind::DiskFails => {
            let operation = world.chance.one_of(&[Operation::Write, Operation::SyncFile, Operation::SyncDir]);
            fail(world, broker, operation, lasts);
        }
        Kind::ReadsFail => fail(world, broker, Operation::Read, lasts),
        Kind::Stall => {
            let until = world.now() + lasts;
            for (stream, way) in some_streams(world, broker) {
                world.network.streams.stand_still(stream, way, until);
            }
        }
        Kind::Reset => {
            for (stream, _) in some_streams(world, broker) {
                world.break_stream(stream);
            }
        }
        Kind::CutMidFrame => {
            for (stream, way) in some_streams(world, broker) {
                let bytes = world.chance.below(400);
                world.network.streams.break_after(stream, way, bytes);
            }
        }
        Kind::ZooKeeperLost => {
            for (stream, _) in world.network.streams.of(zookeeper) {
                world.break_stream(stream);
            }
        }
        Kind::KillClient | Kind::CloseClient => {
            let program = world.chance.below(world.programs.len() as u64) as usize;
            match kind {
                Kind::KillClient => world.kill_program(program),
                _ => world.programs[program].close(),
            }
        }
    }
    Ok(())
}

/// Half of the connections of a broker to brokers and clients, each with one of its directions.
fn some_streams(world: &mut World, broker: Node) -> Vec<(u64, Way)> {
    let zookeeper = world.zookeeper();
    let all = world.network.streams.between(|node| node == broker, |node| node != zookeeper);
    let mut some = Vec::new();
    for stream in all {
        let way = if world.chance.permille(500) { Way::Up } else { Way::Down };
        if world.chance.permille(500) {
            some.push((stream, way));
        }
    }
    some
}

fn all(world: &World) -> Vec<usize> {
    (0..world.plan.brokers).collect()
}

fn end(world: &mut World, brokers: &[usize], power_cut: bool) {
    for broker in brokers {
        if world.servers[*broker].process.is_some() {
            world.kill(*broker, power_cut);
            world.restart_later(*broker);
        }
    }
}

fn other_host(world: &mut World, broker: usize) -> Node {
    // Not ZooKeeper, which has its own fault.
    let hosts = world.plan.brokers + world.plan.client_hosts();
    let other = world.chance.below(hosts as u64 - 1) as usize;
    let other = if other >= broker { other + 1 } else { other };
    if other >= world.plan.brokers { other + 1 } else { other }
}

fn cut(world: &mut World, links: Vec<(Node, Node)>, lasts: Duration) {
    for (from, to) in &links {
        world.network.cut(*from, *to);
    }
    world.after(lasts, Event::Mend(Mend::Links(links)));
}

fn fail(world: &mut World, broker: usize, operation: Operation, lasts: Duration) {
    let fault = Fault {
        after: world.chance.below(20) as u32,
        times: world.chance.between(1, 5) as u32,
        path_contains: world.chance.one_of(&["", "", ".log", "checkpoint"]).to_owned(),
        ..Fault::always(operation, "")
    };
    world.servers[broker].disk.add_fault(fault);
    world.after(lasts, Event::Mend(Mend::Disk(broker)));
}

/// A fault ends.
///
/// # Errors
/// A broken promise.
pub fn mend(world: &mut World, mend: Mend) -> Result<(), Violation> {
    match mend {
        Mend::Links(links) => {
            for (from, to) in links {
                world.network.heal(from, to);
            }
            world.release_streams();
        }
        Mend::Disk(broker) => mend_disk(world, broker),
    }
    Ok(())
}

fn mend_disk(world: &mut World, broker: usize) {
    let disk = world.servers[broker].disk;
    disk.set_capacity(None);
    disk.clear_faults();
}

/// A log that could not be opened stays offline until its broker starts anew, as with Kafka: whoever mends a disk does that too, once.
pub fn restart_broken(world: &mut World) {
    for broker in 0..world.plan.brokers {
        let is_broken = world.servers[broker].state().is_some_and(|state| !state.replicas.logs().offline().is_empty());
        if is_broken && !std::mem::replace(&mut world.servers[broker].was_mended, true) {
            world.kill(broker, false);
            world.restart_later(broker);
        }
    }
}

/// Everything that can be mended from outside is: nothing else may be needed (I12).
///
/// # Errors
/// A broken promise.
pub fn heal(world: &mut World) -> Result<(), Violation> {
    world.is_busy = false;
    world.network.heal_all();
    world.network.weather = Weather::fair();
    world.plan.slow_disk_permille = 0;
    for program in &mut world.programs {
        program.rest();
    }
    for broker in 0..world.plan.brokers {
        mend_disk(world, broker);
        world.resume(broker)?;
        if world.servers[broker].process.is_none() {
            world.restart_later(broker);
        }
    }
    world.release_streams();
    Ok(())
}
