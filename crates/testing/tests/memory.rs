//! A broker that is gone leaves nothing behind in its process: whoever runs brokers inside a program, or plays a hundred thousand of them, gets their memory back.

use std::sync::{Arc, Weak};
use std::time::Duration;

use broker::Broker;
use broker::replica_manager::HostedPartition;
use broker::state::BrokerState;
use client::kafka::NewTopic;
use storage::Log;
use tidemill_testing::servers::{Cluster, eventually, produce};
use tidemill_testing::simulator::plan::{Endings, Mischief, Plan};
use tidemill_testing::simulator::{play, run};

const TOPIC: &str = "held";

/// What would be left of a broker if something still held it.
struct Remains {
    state: Weak<BrokerState>,
    partitions: Vec<Weak<HostedPartition>>,
    logs: Vec<Weak<Log>>,
}

impl Remains {
    fn of(state: &Arc<BrokerState>) -> Remains {
        let partitions = state.replicas.all();
        assert!(!partitions.is_empty(), "a broker without partitions shows nothing");
        Remains {
            state: Arc::downgrade(state),
            logs: partitions.iter().map(|partition| Arc::downgrade(partition.log())).collect(),
            partitions: partitions.iter().map(Arc::downgrade).collect(),
        }
    }

    /// How often the state, the partitions and the logs are held.
    fn held(&self) -> [usize; 3] {
        let partitions = self.partitions.iter().map(Weak::strong_count).sum();
        [self.state.strong_count(), partitions, self.logs.iter().map(Weak::strong_count).sum()]
    }
}

fn remains(broker: &Broker) -> Remains {
    Remains::of(broker.state())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_stopped_or_killed_is_freed() {
    let mut cluster = Cluster::start(3, &[]).await;
    cluster.admin().create_topic(&NewTopic::new(TOPIC, Some(3), Some(3))).await.unwrap();
    produce(&cluster.producer(), TOPIC, 3, 0..9).await;
    let (stopped, killed) = (remains(cluster.broker(1)), remains(cluster.broker(2)));
    cluster.stop_broker(1).await;
    cluster.kill_broker(2).await;
    for remains in [stopped, killed] {
        // A connection whose client has not hung up yet is closed within a moment.
        eventually("a broker to be freed", || async { (remains.held() == [0, 0, 0]).then_some(()) }).await;
    }
    cluster.stop().await;
}

#[test]
fn a_simulated_broker_is_freed_with_its_process() {
    let (one, other, last) = (0, 1, 2);
    let mut at_the_end = Vec::new();
    play(1, Plan::quiet(1, Endings::Kills), |world| {
        world.wait_until(Duration::from_secs(15), "something is acknowledged", |world| {
            world.history.acknowledged() > 10
        })?;
        let all: Vec<Remains> = world.servers.iter().filter_map(|server| server.state().map(Remains::of)).collect();
        world.kill(one, false);
        assert_eq!(all[one].held(), [0, 0, 0], "killed");
        world.shut_down(other)?;
        world.wait_until(Duration::from_secs(15), "it has stopped", |world| world.servers[other].state().is_none())?;
        assert_eq!(all[other].held(), [0, 0, 0], "stopped");
        assert_ne!(all[last].held(), [0, 0, 0], "it runs");
        at_the_end = all;
        Ok(())
    })
    .unwrap();
    assert_eq!(at_the_end[last].held(), [0, 0, 0], "the world has ended");
}

#[test]
fn a_run_of_the_simulator_leaves_no_byte_behind() {
    // What is made once by the first runs stays: the machines, and what this thread keeps.
    (1..4).for_each(|seed| assert!(run(seed, Mischief::None).is_ok()));
    let left = allocation_counter::measure(|| (4..10).for_each(|seed| assert!(run(seed, Mischief::None).is_ok())));
    assert!(left.bytes_current < 1024, "six runs left {} bytes in {} pieces", left.bytes_current, left.count_current);
}
