//! Scripts for the second tier of the simulator: what is played is a whole cluster with its clients over byte streams.

use std::time::Duration;

use tidemill_testing::simulator::plan::{Endings, Plan};
use tidemill_testing::simulator::play;

#[test]
fn in_fair_weather_everything_arrives() {
    for seed in 1..4 {
        let played =
            play(seed, Plan::quiet_streams(2, Endings::Kills), |world| world.run_until(Duration::from_secs(5)));
        let summary = played.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(summary.acknowledged > 100, "{summary:?}");
    }
}
