//! Scripts for the second tier of the simulator: what is played is a whole cluster with its clients over byte streams.

use std::time::Duration;

use tidemill_testing::simulator::history::Violation;
use tidemill_testing::simulator::plan::{Endings, Plan};
use tidemill_testing::simulator::play;
use tidemill_testing::simulator::world::World;

const PARTITION: i32 = 0;
const PATIENCE: Duration = Duration::from_secs(15);

/// Plays a script with some seeds. The run ends healed, whole and compared, as every run of the simulator does.
fn check(plan: &Plan, script: impl Fn(&mut World) -> Result<(), Violation>) {
    for seed in 1..6 {
        let played = play(seed, plan.clone(), |world| {
            let in_sync = |world: &World| world.state_of(PARTITION).is_some_and(|state| state.isr.len() == 3);
            world.wait_until(PATIENCE, "all are in sync", in_sync)?;
            world.wait_until(PATIENCE, "something is acknowledged", |world| world.history.acknowledged() > 10)?;
            script(world)
        });
        let summary = played.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(summary.acknowledged > 10, "{summary:?}");
    }
}

fn leader(world: &World) -> i32 {
    world.state_of(PARTITION).map_or(-1, |state| state.leader)
}

#[test]
fn in_fair_weather_everything_arrives() {
    check(&Plan::quiet_streams(2, Endings::Kills), |world| {
        let before = world.history.acknowledged();
        world.run_until(world.now() + Duration::from_secs(4))?;
        assert!(world.history.acknowledged() > before + 50);
        Ok(())
    });
}

/// A follower whose disk has not all of it yet when its leader changes: nobody was left who waited for the disk, and it followed no more (found by seed 81).
#[test]
fn a_follower_whose_disk_is_behind_follows_the_next_leader() {
    // Nothing else may wake its fetchers: no other partition moves.
    let plan = Plan { admins: 0, members: 0, slow_disk_permille: 1_000, ..Plan::quiet_streams(1, Endings::PowerCuts) };
    check(&plan, |world| {
        for _ in 0..3 {
            let old = leader(world);
            world.kill(old as usize, false);
            world.restart_later(old as usize);
            world.wait_until(PATIENCE, "another leads", |world| leader(world) >= 0 && leader(world) != old)?;
            world.run_until(world.now() + Duration::from_secs(3))?;
        }
        Ok(())
    });
}
