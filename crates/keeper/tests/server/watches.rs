//! Watches over the wire: which events, in which order, and after a reconnect.

use protocol::zookeeper::*;

use crate::common::*;

const CREATED: i32 = 1;
const DELETED: i32 = 2;
const DATA_CHANGED: i32 = 3;
const CHILDREN_CHANGED: i32 = 4;

fn watch_exists(client: &mut Client, path: &str) {
    client.call(OpCode::Exists, &ExistsRequest { path: path.into(), watch: true });
}

fn watch_children(client: &mut Client, path: &str) {
    client.call(OpCode::GetChildren2, &GetChildrenRequest { path: path.into(), watch: true });
}

fn add_watch(client: &mut Client, path: &str, mode: AddWatchMode) {
    let reply = client.call(OpCode::AddWatch, &AddWatchRequest { path: path.into(), mode: mode.as_i32() });
    assert_eq!(&reply.body[..], [0; 4], "Java clients wait for these four bytes");
}

#[test]
fn events_come_before_the_reply_that_shows_the_change() {
    let home = start();
    let mut client = home.client();
    watch_exists(&mut client, "/w");
    watch_children(&mut client, "/");
    client.create("/w", "", CreateMode::Persistent).unwrap();
    let events: Vec<_> = client.events.drain(..).map(|reply| reply.event()).collect();
    assert_eq!(events, [(CREATED, "/w".into()), (CHILDREN_CHANGED, "/".into())]);
    client.set("/w", "1").unwrap();
    assert_eq!(client.events, [], "one-shot watches are used up");
}

#[test]
fn persistent_watches_stay_and_recursive_ones_see_all_below() {
    let home = start();
    let (mut one, mut all, mut writer) = (home.client(), home.client(), home.client());
    add_watch(&mut one, "/a", AddWatchMode::Persistent);
    add_watch(&mut all, "/", AddWatchMode::PersistentRecursive);
    writer.create("/a", "", CreateMode::Persistent).unwrap();
    writer.create("/a/b", "", CreateMode::Persistent).unwrap();
    writer.set("/a/b", "1").unwrap();
    writer.delete("/a/b").unwrap();
    writer.set("/a", "1").unwrap();
    let expected = [(CREATED, "/a"), (CHILDREN_CHANGED, "/a"), (CHILDREN_CHANGED, "/a"), (DATA_CHANGED, "/a")];
    for (event_type, path) in expected {
        assert_eq!(one.event(), (event_type, path.to_owned()));
    }
    let expected =
        [(CREATED, "/a"), (CREATED, "/a/b"), (DATA_CHANGED, "/a/b"), (DELETED, "/a/b"), (DATA_CHANGED, "/a")];
    for (event_type, path) in expected {
        assert_eq!(all.event(), (event_type, path.to_owned()));
    }
    let remove = WatchesRequest { path: "/".into(), watcher_type: WatcherType::Any.as_i32() };
    assert_eq!(all.error(OpCode::CheckWatches, &remove), ErrorCode::Ok);
    assert_eq!(all.error(OpCode::RemoveWatches, &remove), ErrorCode::Ok);
    assert_eq!(all.error(OpCode::RemoveWatches, &remove), ErrorCode::NoWatcher);
    assert_eq!(all.error(OpCode::CheckWatches, &remove), ErrorCode::NoWatcher);
}

#[test]
fn watches_go_with_their_connection_and_are_set_again() {
    let home = start();
    let mut writer = home.client();
    for path in ["/data", "/same", "/gone", "/children", "/here"] {
        writer.create(path, "", CreateMode::Persistent).unwrap();
    }
    let mut client = home.client();
    watch_exists(&mut client, "/data");
    let seen = client.call(OpCode::Exists, &ExistsRequest { path: "/".into(), watch: false }).header.zxid;
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    until("the watch is gone", || home.keeper.status().watch_count == 0);
    writer.set("/data", "1").unwrap();
    writer.delete("/gone").unwrap();
    writer.create("/children/x", "", CreateMode::Persistent).unwrap();
    let mut again = client.resume(home.keeper.local_addr()).expect("resumed");
    let paths = |list: &[&str]| list.iter().map(|path| (*path).to_owned()).collect::<Vec<String>>();
    let request = SetWatches2Request {
        relative_zxid: seen,
        data_watches: paths(&["/data", "/same", "/gone"]),
        exist_watches: paths(&["/here", "/later"]),
        child_watches: paths(&["/children", "/same", "/gone"]),
        persistent_watches: paths(&["/p"]),
        persistent_recursive_watches: paths(&["/r"]),
    };
    again.send_as(xid::SET_WATCHES, OpCode::SetWatches2.as_i32(), &request);
    let reply = again.wait(xid::SET_WATCHES);
    assert_eq!((reply.header.err, reply.body.len()), (ErrorCode::Ok, 0));
    let events: Vec<_> = again.events.drain(..).map(|reply| reply.event()).collect();
    let expected = [
        (DATA_CHANGED, "/data"),
        (DELETED, "/gone"),
        (CREATED, "/here"),
        (CHILDREN_CHANGED, "/children"),
        (DELETED, "/gone"),
    ];
    assert_eq!(events, expected.map(|(event_type, path)| (event_type, path.to_owned())));
    for (path, expected) in [("/later", (CREATED, "/later")), ("/p", (CREATED, "/p")), ("/r", (CREATED, "/r"))] {
        writer.create(path, "", CreateMode::Persistent).unwrap();
        assert_eq!(again.event(), (expected.0, expected.1.to_owned()));
    }
    writer.set("/same", "2").unwrap();
    assert_eq!(again.event(), (DATA_CHANGED, "/same".into()));
}

#[test]
fn events_are_only_for_those_who_may_read_the_node() {
    let home = start();
    let (mut owner, mut spy) = (home.client(), home.client());
    add_watch(&mut spy, "/", AddWatchMode::PersistentRecursive);
    let auth = AuthPacket { auth_type: 0, scheme: "digest".into(), auth: Some("u:p".into()) };
    owner.send_as(xid::AUTH, OpCode::Auth.as_i32(), &auth);
    owner.wait(xid::AUTH);
    let acl = vec![Acl { perms: perms::ALL, id: Id { scheme: "auth".into(), id: String::new() } }];
    let request = CreateRequest { acl, ..create_request("/secret", "", CreateMode::Persistent) };
    assert_eq!(owner.error(OpCode::Create, &request), ErrorCode::Ok);
    owner.create("/open", "", CreateMode::Persistent).unwrap();
    assert_eq!(spy.event(), (CREATED, "/open".into()));
}
