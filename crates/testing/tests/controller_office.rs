//! The controller's office on our keeper: held by one broker at a time, and an old controller that does not know better changes nothing.

use broker::controller::plan::SetState;
use broker::controller::{Fence, Office, write_states};
use client::zookeeper::znodes::PartitionState;
use client::zookeeper::{CreateMode, Session, ZkError, paths};
use keeper::Keeper;
use runtime::Clock;
use tidemill_testing::servers::{PATIENCE, keeper_config};

struct Tree {
    keeper: Keeper,
    _directory: tempfile::TempDir,
}

impl Tree {
    async fn start() -> Tree {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::start(keeper_config(directory.path())).unwrap();
        let tree = Tree { keeper, _directory: directory };
        let session = tree.session().await;
        let path = paths::partition_state("t", 0);
        session.create_recursive(&path, state(1).to_json(), CreateMode::Persistent).await.unwrap();
        session.close().await;
        tree
    }

    async fn session(&self) -> Session {
        Session::connect(&self.keeper.local_addr().to_string(), PATIENCE).await.unwrap()
    }
}

fn state(leader: i32) -> PartitionState {
    PartitionState { leader, isr: vec![leader], ..Default::default() }
}

fn set(leader: i32, expected: i32) -> SetState {
    SetState { topic: "t".into(), partition: 0, state: state(leader), expected }
}

async fn leader(session: &Session) -> (i32, i32) {
    let path = paths::partition_state("t", 0);
    let (data, stat) = session.get_data(&path).await.unwrap();
    (PartitionState::parse(&path, &data).unwrap().leader, stat.version)
}

async fn stand(office: &Office, session: &Session, id: i32) -> Option<Fence> {
    office.stand(session, Clock::real(), id).await.unwrap().then(|| office.fence().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_was_replaced_without_knowing_it_changes_nothing() {
    let tree = Tree::start().await;
    let (first, second) = (tree.session().await, tree.session().await);
    let (old, new) = (Office::default(), Office::default());
    let old_fence = stand(&old, &first, 1).await.expect("the first to stand is elected");
    assert_eq!(stand(&new, &second, 2).await, None);
    write_states(&first, Some(old_fence), vec![set(2, 0)]).await.unwrap();
    // The first controller is paused, and its session expires: the other one is elected.
    second.delete(paths::CONTROLLER, -1).await.unwrap();
    let new_fence = stand(&new, &second, 2).await.expect("nobody else stands");
    assert_eq!(new_fence.epoch, old_fence.epoch + 1);
    write_states(&second, Some(new_fence), vec![set(3, 1)]).await.unwrap();
    // It wakes up, and believes in its office still. Neither what it saw last nor what it sees now makes its write land.
    for expected in [1, 2] {
        let refused = write_states(&first, Some(old_fence), vec![set(9, expected)]).await.unwrap_err();
        assert!(matches!(&refused, ZkError::Multi { path, .. } if path == paths::CONTROLLER_EPOCH), "{refused}");
        assert!(refused.is_bad_version(), "{refused}");
    }
    assert_eq!(leader(&second).await, (3, 2));
    tree.keeper.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_election_whose_answer_was_lost_is_found_by_a_second_look() {
    let tree = Tree::start().await;
    let (first, second) = (tree.session().await, tree.session().await);
    let fence = stand(&Office::default(), &first, 1).await.unwrap();
    // Who lost the answer has no fence, and looks.
    let unaware = Office::default();
    assert!(unaware.resume(&first).await.unwrap());
    assert_eq!(unaware.fence(), Some(fence));
    let other = Office::default();
    assert!(!other.resume(&second).await.unwrap());
    assert_eq!(other.fence(), None);
    // Once somebody else was elected, there is nothing to take up again, also not with a znode of one's own.
    first.delete(paths::CONTROLLER, -1).await.unwrap();
    stand(&other, &second, 2).await.unwrap();
    assert!(!Office::default().resume(&first).await.unwrap());
    second.delete(paths::CONTROLLER, -1).await.unwrap();
    first.create(paths::CONTROLLER, r#"{"version":1,"brokerid":1}"#, CreateMode::Ephemeral).await.unwrap();
    assert!(!Office::default().resume(&first).await.unwrap());
    tree.keeper.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_quicker_with_one_state_does_not_hold_up_the_others() {
    let tree = Tree::start().await;
    let session = tree.session().await;
    for partition in 1..4 {
        let path = paths::partition_state("t", partition);
        session.create_recursive(&path, state(1).to_json(), CreateMode::Persistent).await.unwrap();
    }
    let fence = stand(&Office::default(), &session, 1).await.unwrap();
    session.set_data(&paths::partition_state("t", 2), state(7).to_json(), -1).await.unwrap();
    let states = (0..4).map(|partition| SetState { partition, ..set(2, 0) }).collect();
    let changes = write_states(&session, Some(fence), states).await.unwrap();
    assert_eq!(changes.len(), 3, "{changes:?}");
    assert_eq!(leader(&session).await, (2, 1));
    let (data, stat) = session.get_data(&paths::partition_state("t", 2)).await.unwrap();
    assert_eq!((PartitionState::parse("", &data).unwrap().leader, stat.version), (7, 1));
    tree.keeper.shutdown().await.unwrap();
}
