use bytes::BytesMut;
use protocol::zookeeper::Reader;

use super::*;

fn create(path: &str, owner: i64) -> TxnOp {
    TxnOp::Create {
        path: path.into(),
        data: Some(Bytes::from_static(b"x")),
        acl: Acl::open(),
        owner,
        parent_cversion: 1,
    }
}

fn set(path: &str, data: &'static [u8]) -> TxnOp {
    TxnOp::SetData { path: path.into(), data: Some(Bytes::from_static(data)), version: 1 }
}

fn delete(path: &str) -> TxnOp {
    TxnOp::Delete { path: path.into() }
}

/// Everything a client can see of a tree, as text.
fn picture(tree: &Tree) -> Vec<String> {
    let mut lines: Vec<String> = tree
        .nodes
        .iter()
        .map(|(path, node)| format!("{path} {:?} {:?} {:?} {:?}", node.data, node.stat(), node.children, node.acl))
        .collect();
    lines.sort();
    lines.push(format!("{:?} {} {}", tree.ephemerals_of(7).collect::<Vec<_>>(), tree.data_bytes, tree.ephemeral_count));
    lines
}

#[test]
fn a_new_tree_has_zookeepers_own_nodes() {
    let tree = Tree::new();
    assert_eq!(tree.node_count(), 4);
    let root = tree.get("/").unwrap().stat();
    assert_eq!((root.num_children, root.cversion), (1, -1));
    assert_eq!(tree.get("/zookeeper").unwrap().stat().cversion, -2);
}

#[test]
fn undone_changes_leave_nothing() {
    let mut tree = Tree::new();
    for (zxid, op) in [(1, create("/a", 0)), (2, create("/a/b", 7))] {
        tree.apply(&op, zxid, 100).unwrap();
    }
    let before = picture(&tree);
    let ops = [
        create("/a/c", 7),
        set("/a", b"longer"),
        delete("/a/b"),
        create("/a/b", owner::CONTAINER),
        TxnOp::SetAcl { path: "/a".into(), acl: acl::world_readable(), version: 1 },
        delete("/a/c"),
        create("/t", owner::ttl(5)),
    ];
    let undos: Vec<Undo> = ops.iter().map(|op| tree.apply(op, 9, 200).unwrap().0).collect();
    assert_ne!(picture(&tree), before);
    undos.into_iter().rev().for_each(|undo| tree.undo(undo));
    assert_eq!(picture(&tree), before);
    assert!(tree.containers.is_empty() && tree.ttls.is_empty());
}

#[test]
fn changes_that_do_not_fit_are_refused() {
    let mut tree = Tree::new();
    tree.apply(&create("/a", 0), 1, 1).unwrap();
    tree.apply(&create("/a/b", 0), 2, 1).unwrap();
    let before = picture(&tree);
    for op in [create("/a", 0), create("/x/y", 0), delete("/a"), delete("/none"), set("/none", b""), delete("/")] {
        assert!(tree.apply(&op, 3, 1).is_err(), "{op:?}");
    }
    assert_eq!(picture(&tree), before);
}

#[test]
fn owners_tell_the_kind_of_node() {
    assert_eq!(owner::session(0x0012_3456_789a_0001), Some(0x0012_3456_789a_0001));
    assert_eq!(owner::session(owner::CONTAINER), None);
    assert_eq!(owner::session(owner::ttl(1000)), None);
    assert_eq!(owner::ttl_ms(owner::ttl(1000)), Some(1000));
    assert_eq!(owner::ttl_ms(owner::CONTAINER), None);
}

#[test]
fn empty_containers_and_old_ttl_nodes_are_collected() {
    let mut tree = Tree::new();
    for (zxid, op) in [(1, create("/c", owner::CONTAINER)), (2, create("/t", owner::ttl(50)))] {
        tree.apply(&op, zxid, 1000).unwrap();
    }
    assert!(tree.to_collect(1050).is_empty(), "a container that never had a child stays");
    tree.apply(&create("/c/x", 0), 3, 1000).unwrap();
    assert_eq!(tree.to_collect(1051), ["/t".into()]);
    tree.apply(&delete("/c/x"), 4, 1000).unwrap();
    assert_eq!(tree.to_collect(1051), ["/c".into(), "/t".into()]);
}

#[test]
fn a_snapshot_pass_writes_the_tree_of_its_start_whatever_happens_meanwhile() {
    let mut tree = Tree::new();
    for i in 0..100 {
        tree.apply(&create(&format!("/n{i}"), if i % 10 == 0 { 7 } else { 0 }), i, i).unwrap();
    }
    let before = picture(&tree);
    tree.start_snapshot();
    let mut bytes = BytesMut::new();
    let mut turn = 0;
    let total = loop {
        let (slice, total) = tree.snapshot_slice(200).unwrap();
        bytes.extend_from_slice(&slice);
        if let Some(total) = total {
            break total;
        }
        let zxid = 1000 + turn;
        tree.apply(&delete(&format!("/n{}", 99 - turn)), zxid, zxid).unwrap();
        tree.apply(&set(&format!("/n{turn}"), b"later"), zxid, zxid).unwrap();
        tree.apply(&create(&format!("/n{turn}/late"), 0), zxid, zxid).unwrap();
        let undo = tree.apply(&create(&format!("/late{turn}"), 7), zxid, zxid).unwrap().0;
        if turn % 2 == 0 {
            tree.undo(undo);
        }
        turn += 1;
    };
    assert!(turn > 10, "the pass took {turn} slices");
    let mut reader = Reader::new(bytes.freeze());
    let nodes: Vec<_> = (0..total).map(|_| snapshot_pass::read_node(&mut reader).unwrap()).collect();
    assert_eq!(reader.remaining(), 0);
    assert_eq!(picture(&Tree::from_nodes(nodes).unwrap()), before);
    assert!(tree.snapshot_slice(200).is_none());
}

#[test]
fn descendants_are_counted() {
    let mut tree = Tree::new();
    for (zxid, path) in ["/a", "/a/b", "/a/b/c", "/a/d"].into_iter().enumerate() {
        tree.apply(&create(path, 0), zxid as i64, 0).unwrap();
    }
    assert_eq!(tree.descendant_count("/a"), 3);
    assert_eq!(tree.descendant_count("/a/b/c"), 0);
    assert_eq!(tree.descendant_count("/"), 7);
}
