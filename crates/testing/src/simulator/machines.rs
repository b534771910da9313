//! What outlasts a run: the time, the chance and the disks of simulated hosts are handles that are copied to wherever they are needed, so they are never freed. The worlds that one thread
//! plays take them over, one after the other, and a process that plays 100,000 of them stays as small as with one.

use runtime::SimDisk;
use runtime::sim_time::{SimRandom, SimTime};

/// Brokers of a world at most.
pub const BROKERS_MAX: usize = 3;

/// Programs of a world at most.
pub const PROGRAMS_MAX: usize = 12;

/// The machines of a world.
#[derive(Clone, Copy)]
pub struct Machines {
    /// Its time.
    pub time: &'static SimTime,
    /// ZooKeeper's chance.
    pub zookeeper: SimRandom,
    /// Each broker's disk and chance.
    pub brokers: [(SimDisk, SimRandom); BROKERS_MAX],
    /// Each program's chance.
    pub programs: [SimRandom; PROGRAMS_MAX],
}

impl Machines {
    /// Those of the current thread, as if nothing had ever happened to them. Whatever still refers to a world that was played before belongs to no other from here on.
    #[must_use]
    pub fn anew() -> Machines {
        thread_local! {
            static OWN: Machines = Machines {
                time: SimTime::begin(),
                zookeeper: SimRandom::new(0),
                brokers: std::array::from_fn(|_| (SimDisk::new(), SimRandom::new(0))),
                programs: std::array::from_fn(|_| SimRandom::new(0)),
            };
        }
        let own = OWN.with(|own| *own);
        own.time.begin_again();
        own.brokers.iter().for_each(|(disk, _)| disk.reset());
        own
    }
}
