//! Which events reach which watches, and what is armed again.

use super::*;

fn event(kind: EventType, path: &str) -> WatcherEvent {
    WatcherEvent { event_type: kind.as_i32(), state: 3, path: path.into() }
}

/// Arms one watch of each one-shot kind on `/a/b` and tells which of them an event fires.
fn check_one_shot(kind: EventType, path: &str, expected: [bool; 3]) {
    let mut table = WatchTable::default();
    let armed =
        [(OneShot::Data, true), (OneShot::Exists, false), (OneShot::Children, true)].map(|(one_shot, exists)| {
            let (fire, fired) = oneshot::channel();
            table.arm(one_shot, exists, "/a/b".into(), fire);
            fired
        });
    table.deliver(&event(kind, path), &Chroot::default());
    let got = armed.map(|mut fired| fired.try_recv().is_ok());
    assert_eq!(got, expected, "{kind:?} {path}");
}

#[test]
fn events_fire_the_watches_java_fires() {
    check_one_shot(EventType::NodeCreated, "/a/b", [true, true, false]);
    check_one_shot(EventType::NodeDataChanged, "/a/b", [true, true, false]);
    check_one_shot(EventType::NodeChildrenChanged, "/a/b", [false, false, true]);
    check_one_shot(EventType::NodeDeleted, "/a/b", [true, true, true]);
    check_one_shot(EventType::NodeDeleted, "/a", [false, false, false]);
    check_one_shot(EventType::DataWatchRemoved, "/a/b", [false, false, false]);
}

#[test]
fn a_recursive_watch_hears_of_descendants_and_never_of_lists() {
    let mut table = WatchTable::default();
    let inbox = Arc::new(Inbox::default());
    table.arm_persistent(AddWatchMode::PersistentRecursive, "/".into(), &inbox);
    let plain = Arc::new(Inbox::default());
    table.arm_persistent(AddWatchMode::Persistent, "/a".into(), &plain);
    for (kind, path) in
        [(EventType::NodeCreated, "/a/b/c"), (EventType::NodeChildrenChanged, "/a"), (EventType::NodeDataChanged, "/a")]
    {
        table.deliver(&event(kind, path), &Chroot::default());
    }
    let kinds = |inbox: &Inbox| {
        std::iter::from_fn(|| inbox.take())
            .map(|notice| match notice {
                Ok(WatchNotice::Event(event)) => (event.kind, event.path),
                other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let expected = [(EventType::NodeCreated, "/a/b/c".to_owned()), (EventType::NodeDataChanged, "/a".to_owned())];
    assert_eq!(kinds(&inbox), expected);
    let expected = [(EventType::NodeChildrenChanged, "/a".to_owned()), (EventType::NodeDataChanged, "/a".to_owned())];
    assert_eq!(kinds(&plain), expected);
}

#[test]
fn a_slow_owner_is_told_that_it_missed_something() {
    let inbox = Inbox::default();
    for _ in 0..=INBOX_EVENTS_MAX {
        inbox.push(WatchedEvent { kind: EventType::NodeCreated, path: "/a".into() });
    }
    inbox.push(WatchedEvent { kind: EventType::NodeDeleted, path: "/a".into() });
    assert_eq!(inbox.take(), Some(Ok(WatchNotice::Missed)));
    let last = WatchedEvent { kind: EventType::NodeDeleted, path: "/a".into() };
    assert_eq!(inbox.take(), Some(Ok(WatchNotice::Event(last))));
    assert_eq!(inbox.take(), None);
    inbox.end(&ZkError::SessionExpired);
    assert_eq!(inbox.take(), Some(Err(ZkError::SessionExpired)));
    assert_eq!(inbox.take(), Some(Err(ZkError::SessionExpired)), "the end stays the end");
}

#[test]
fn many_watches_are_rearmed_in_several_requests_and_dropped_ones_not_at_all() {
    let mut table = WatchTable::default();
    let mut kept = Vec::new();
    for number in 0..3000 {
        let (fire, fired) = oneshot::channel();
        table.arm(OneShot::Data, true, format!("/{number:0100}"), fire);
        kept.push(fired);
        let (fire, _dropped) = oneshot::channel();
        table.arm(OneShot::Exists, false, format!("/dropped{number}"), fire);
    }
    let inbox = Arc::new(Inbox::default());
    table.arm_persistent(AddWatchMode::PersistentRecursive, "/z".into(), &inbox);
    let requests = table.rearm(77);
    assert_eq!(requests.len(), 3);
    let mut paths = 0;
    for (op, body) in &requests {
        assert!(body.len() < SET_WATCHES_BYTES_MAX + 1000);
        match op {
            OpCode::SetWatches => {
                let request = SetWatchesRequest::from_body(body.clone()).unwrap();
                assert_eq!((request.relative_zxid, request.exist_watches.len()), (77, 0));
                paths += request.data_watches.len();
            }
            OpCode::SetWatches2 => {
                let request = SetWatches2Request::from_body(body.clone()).unwrap();
                assert_eq!(request.persistent_recursive_watches, ["/z"]);
                paths += request.data_watches.len();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((paths, requests[2].0), (3000, OpCode::SetWatches2));
    assert_eq!(inbox.take(), Some(Ok(WatchNotice::Missed)));
}

#[test]
fn a_dropped_persistent_watch_is_disarmed_when_it_is_the_last() {
    let mut table = WatchTable::default();
    let first = Arc::new(Inbox::default());
    let second = Arc::new(Inbox::default());
    table.arm_persistent(AddWatchMode::Persistent, "/a".into(), &first);
    table.arm_persistent(AddWatchMode::Persistent, "/a".into(), &second);
    drop(first);
    assert!(!table.disarm_persistent(AddWatchMode::Persistent, "/a"));
    drop(second);
    assert!(table.disarm_persistent(AddWatchMode::Persistent, "/a"));
    assert!(table.rearm(1).is_empty());
}
