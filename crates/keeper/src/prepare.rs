//! Whether a change may be made, and what exactly it will be (ZooKeeper's `PrepRequestProcessor`). The order of the checks is ZooKeeper's: it decides which error
//! a client sees when several apply.

use protocol::zookeeper::{CreateMode, CreateRequest, ErrorCode, path, perms};

use crate::acl::Identity;
use crate::request::Write;
use crate::tree::{Node, RESERVED, Tree, owner};
use crate::txn::TxnOp;

/// Turns a wish into a transaction, or says why not. The tree is only read.
pub(crate) fn prepare(tree: &Tree, who: &Identity, session: i64, write: &Write) -> Result<TxnOp, ErrorCode> {
    match write {
        Write::Create { request, ttl_ms, .. } => prepare_create(tree, who, session, request, *ttl_ms),
        Write::Delete(request) => {
            if RESERVED.contains(&request.path.as_str()) || request.path.contains('\0') {
                return Err(ErrorCode::BadArguments);
            }
            let parent = path::parent(&request.path).ok_or(ErrorCode::BadArguments)?;
            let parent = existing(tree, parent)?;
            who.check(&parent.acl, perms::DELETE)?;
            let node = existing(tree, &request.path)?;
            next_version(node.version, request.version)?;
            if !node.children.is_empty() {
                return Err(ErrorCode::NotEmpty);
            }
            Ok(TxnOp::Delete { path: request.path.clone() })
        }
        Write::SetData(request) => {
            let node = valid_and_existing(tree, &request.path)?;
            who.check(&node.acl, perms::WRITE)?;
            let version = next_version(node.version, request.version)?;
            Ok(TxnOp::SetData { path: request.path.clone(), data: request.data.clone(), version })
        }
        Write::SetAcl(request) => {
            path::validate(&request.path).map_err(|_| ErrorCode::BadArguments)?;
            let acl = who.resolve(&request.acl)?;
            let node = existing(tree, &request.path)?;
            who.check(&node.acl, perms::ADMIN)?;
            let version = next_version(node.aversion, request.version)?;
            Ok(TxnOp::SetAcl { path: request.path.clone(), acl, version })
        }
        Write::Check(request) => {
            let node = valid_and_existing(tree, &request.path)?;
            who.check(&node.acl, perms::READ)?;
            next_version(node.version, request.version)?;
            Ok(TxnOp::Check { path: request.path.clone() })
        }
    }
}

/// The deletion of a container or TTL node by the server itself; nothing where it has become of use again.
pub(crate) fn prepare_collection(tree: &Tree, path: &str) -> Option<TxnOp> {
    let node = tree.get(path)?;
    node.children.is_empty().then(|| TxnOp::Delete { path: path.to_owned() })
}

fn prepare_create(
    tree: &Tree,
    who: &Identity,
    session: i64,
    request: &CreateRequest,
    ttl_ms: Option<i64>,
) -> Result<TxnOp, ErrorCode> {
    let mode = CreateMode::from_i32(request.flags).ok_or(ErrorCode::BadArguments)?;
    let owner = match (mode, ttl_ms) {
        (mode, Some(ttl_ms)) if mode.is_ttl() && (1..=owner::TTL_MS_MAX).contains(&ttl_ms) => owner::ttl(ttl_ms),
        (mode, _) if mode.is_ttl() => return Err(ErrorCode::BadArguments),
        // A TTL for a node without one. (With a TTL of -1 ZooKeeper 3.8.0 logs such a create, fails to apply it, and never starts again.)
        (_, Some(_)) => return Err(ErrorCode::BadArguments),
        (CreateMode::Container, _) => owner::CONTAINER,
        (mode, _) if mode.is_ephemeral() => session,
        _ => owner::PERSISTENT,
    };
    if request.path.contains('\0') {
        return Err(ErrorCode::BadArguments);
    }
    let parent_path = match path::parent(&request.path) {
        Some(parent) => parent,
        // ZooKeeper finds the root's parent under the empty path.
        None if request.path == "/" => "/",
        None => return Err(ErrorCode::BadArguments),
    };
    let acl = who.resolve(&request.acl)?;
    let parent = existing(tree, parent_path)?;
    who.check(&parent.acl, perms::CREATE)?;
    let path =
        if mode.is_sequential() { format!("{}{:010}", request.path, parent.cversion) } else { request.path.clone() };
    path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
    if tree.get(&path).is_some() {
        return Err(ErrorCode::NodeExists);
    }
    if owner::session(parent.owner).is_some() {
        return Err(ErrorCode::NoChildrenForEphemerals);
    }
    let parent_cversion = parent.cversion.wrapping_add(1);
    Ok(TxnOp::Create { path, data: request.data.clone(), acl, owner, parent_cversion })
}

fn existing<'a>(tree: &'a Tree, path: &str) -> Result<&'a Node, ErrorCode> {
    tree.get(path).ok_or(ErrorCode::NoNode)
}

fn valid_and_existing<'a>(tree: &'a Tree, path: &str) -> Result<&'a Node, ErrorCode> {
    path::validate(path).map_err(|_| ErrorCode::BadArguments)?;
    existing(tree, path)
}

/// -1 matches any version.
fn next_version(current: i32, expected: i32) -> Result<i32, ErrorCode> {
    if expected != -1 && expected != current { Err(ErrorCode::BadVersion) } else { Ok(current.wrapping_add(1)) }
}

#[cfg(test)]
mod tests {
    use protocol::zookeeper::{Acl, CheckVersionRequest, DeleteRequest, SetAclRequest, SetDataRequest};

    use super::*;

    const SESSION: i64 = 0x77;

    fn create(path: &str, flags: i32) -> Write {
        Write::Create {
            request: CreateRequest { path: path.into(), data: None, acl: Acl::open(), flags },
            ttl_ms: None,
            wants_stat: false,
        }
    }

    fn with_acl(write: Write, list: Vec<Acl>) -> Write {
        match write {
            Write::Create { mut request, ttl_ms, wants_stat } => {
                request.acl = list;
                Write::Create { request, ttl_ms, wants_stat }
            }
            other => other,
        }
    }

    fn with_ttl(write: Write, ms: i64) -> Write {
        match write {
            Write::Create { request, wants_stat, .. } => Write::Create { request, ttl_ms: Some(ms), wants_stat },
            other => other,
        }
    }

    fn delete(path: &str, version: i32) -> Write {
        Write::Delete(DeleteRequest { path: path.into(), version })
    }

    fn set(path: &str, version: i32) -> Write {
        Write::SetData(SetDataRequest { path: path.into(), data: None, version })
    }

    /// `/a`, `/a/b`, ephemeral `/e`, and `/locked`, where nobody may do anything.
    fn tree() -> (Tree, Identity) {
        let who = Identity::of_address("127.0.0.1".parse().unwrap(), false);
        let locked =
            vec![Acl { perms: perms::ALL, id: protocol::zookeeper::Id { scheme: "digest".into(), id: "a:b".into() } }];
        let mut tree = Tree::new();
        for write in [create("/a", 0), create("/a/b", 0), create("/e", 1), with_acl(create("/locked", 0), locked)] {
            let op = prepare(&tree, &who, SESSION, &write).unwrap();
            tree.apply(&op, 1, 1).unwrap();
        }
        (tree, who)
    }

    #[test]
    fn errors_are_zookeepers() {
        let (tree, who) = tree();
        let check = |write: Write, expected: ErrorCode| {
            assert_eq!(prepare(&tree, &who, SESSION, &write), Err(expected), "{write:?}");
        };
        check(create("/a", 0), ErrorCode::NodeExists);
        check(create("/", 0), ErrorCode::NodeExists);
        check(create("/a//b", 0), ErrorCode::NoNode);
        check(create("//b", 0), ErrorCode::BadArguments);
        check(create("/a/", 0), ErrorCode::BadArguments);
        check(create("a", 0), ErrorCode::BadArguments);
        check(create("", 2), ErrorCode::BadArguments);
        check(create("/x\0/y", 0), ErrorCode::BadArguments);
        check(delete("/x\0", -1), ErrorCode::BadArguments);
        check(create("/x/y", 0), ErrorCode::NoNode);
        check(create("/x", 9), ErrorCode::BadArguments);
        check(create("/x", 5), ErrorCode::BadArguments);
        check(with_ttl(create("/x", 5), 0), ErrorCode::BadArguments);
        check(with_ttl(create("/x", 0), 5), ErrorCode::BadArguments);
        check(with_ttl(create("/x", 0), -1), ErrorCode::BadArguments);
        check(with_ttl(create("/x", 5), 1 << 40), ErrorCode::BadArguments);
        check(create("/e/x", 0), ErrorCode::NoChildrenForEphemerals);
        check(create("/locked/x", 0), ErrorCode::NoAuth);
        check(with_acl(create("/x/y", 0), vec![]), ErrorCode::InvalidAcl);
        check(with_acl(create("x", 0), vec![]), ErrorCode::BadArguments);
        check(delete("/", -1), ErrorCode::BadArguments);
        check(delete("/zookeeper/config", -1), ErrorCode::BadArguments);
        check(delete("/x", -1), ErrorCode::NoNode);
        check(delete("/locked/x", -1), ErrorCode::NoAuth);
        check(delete("/a", 7), ErrorCode::BadVersion);
        check(delete("/a", -1), ErrorCode::NotEmpty);
        check(set("/a/", -1), ErrorCode::BadArguments);
        check(set("/x", -1), ErrorCode::NoNode);
        check(set("/a", 1), ErrorCode::BadVersion);
        check(set("/locked", -1), ErrorCode::NoAuth);
        check(Write::SetAcl(SetAclRequest { path: "/x".into(), acl: vec![], version: -1 }), ErrorCode::InvalidAcl);
        check(
            Write::SetAcl(SetAclRequest { path: "/locked".into(), acl: Acl::open(), version: -1 }),
            ErrorCode::NoAuth,
        );
        check(Write::SetAcl(SetAclRequest { path: "/a".into(), acl: Acl::open(), version: 3 }), ErrorCode::BadVersion);
        check(Write::Check(CheckVersionRequest { path: "/a".into(), version: 5 }), ErrorCode::BadVersion);
    }

    #[test]
    fn sequential_nodes_count_what_their_parent_has_seen() {
        let (mut tree, who) = tree();
        let path = |tree: &Tree, write: Write| match prepare(tree, &who, SESSION, &write) {
            Ok(TxnOp::Create { path, owner, .. }) => (path, owner),
            other => panic!("{other:?}"),
        };
        assert_eq!(path(&tree, create("/a/s-", 2)), ("/a/s-0000000001".into(), 0));
        assert_eq!(path(&tree, create("/a/", 3)), ("/a/0000000001".into(), SESSION));
        let delete = prepare(&tree, &who, SESSION, &delete("/a/b", -1)).unwrap();
        tree.apply(&delete, 2, 2).unwrap();
        assert_eq!(path(&tree, create("/a/s-", 2)), ("/a/s-0000000001".into(), 0));
        assert_eq!(path(&tree, with_ttl(create("/a/t", 6), 9)), ("/a/t0000000001".into(), owner::ttl(9)));
        assert_eq!(path(&tree, create("/c", 4)), ("/c".into(), owner::CONTAINER));
    }
}
