//! Joining the cluster: the parents of Kafka's tree, the cluster's id, this broker's id and its registration.

use std::collections::BTreeSet;

use bytes::Bytes;
use client::zookeeper::session::op;
use client::zookeeper::znodes::{BrokerRegistration, ClusterId, Endpoint, parse_number};
use client::zookeeper::{CreateMode, Session, ZkError, paths};
use protocol::types::{BrokerId, Uuid};
use runtime::{Clock, Random};
use tracing::info;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::metadata::Image;

/// Times a registration is tried again after removing one of an earlier session of this broker.
const REGISTER_TRIES_MAX: usize = 3;

/// Sessions remembered at most: one for each start in a row that was killed before it had registered, and they expire long before there are so many.
const SESSIONS_NOTED_MAX: usize = 32;

/// Line of the lock file that remembers a session: `zookeeper.session=0x...`.
const SESSION_NOTE: &str = "zookeeper.session=";

fn failed(action: &'static str) -> impl FnOnce(ZkError) -> BrokerError {
    move |error| BrokerError::zookeeper(action, &error)
}

/// Makes the parents that Kafka's tools and brokers expect, and gives the cluster's id, which whoever comes first makes. What is there is read in one round trip, what is
/// missing is written in one: a start waits for the disk of ZooKeeper once and not for each znode.
///
/// # Errors
/// The session's, or a znode that holds no id.
pub async fn ensure_tree(session: &Session, random: Random) -> Result<String, BrokerError> {
    // The chroot, where there is one.
    session.ensure_path("/").await.map_err(failed("create Kafka's parent znodes"))?;
    let own = ClusterId::from_uuid(Uuid::from_random_bytes(random.bytes()));
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for path in paths::PERSISTENT.iter().chain([&paths::CLUSTER_ID]) {
        wanted.extend(path.match_indices('/').skip(1).map(|(end, _)| path[..end].to_owned()));
        wanted.insert((*path).to_owned());
    }
    // A parent sorts before its children.
    let wanted: Vec<String> = wanted.into_iter().collect();
    let Ok(found) = session.read_many(&wanted).await else { return ensure_one_by_one(session, own).await };
    let missing = || wanted.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(path, _)| path.as_str());
    let data = |path: &str| if path == paths::CLUSTER_ID { own.to_json() } else { Bytes::new() };
    let ops: Vec<_> = missing().map(|path| op::create(path, data(path), CreateMode::Persistent)).collect();
    // Another broker that starts at the same time may be quicker with some of them.
    if !ops.is_empty() && session.multi(ops).await.is_err() {
        return ensure_one_by_one(session, own).await;
    }
    let id =
        wanted.iter().zip(&found).find(|(path, _)| *path == paths::CLUSTER_ID).and_then(|(_, found)| found.as_ref());
    match id {
        Some((data, _)) => Ok(ClusterId::parse(paths::CLUSTER_ID, data).map_err(failed("read the cluster id"))?.0),
        None => Ok(own.0),
    }
}

/// [`ensure_tree`] where other brokers make the same znodes, or not all of them may be read.
async fn ensure_one_by_one(session: &Session, own: ClusterId) -> Result<String, BrokerError> {
    for path in paths::PERSISTENT {
        session.ensure_path(path).await.map_err(failed("create Kafka's parent znodes"))?;
    }
    match session.create_recursive(paths::CLUSTER_ID, own.to_json(), CreateMode::Persistent).await {
        Ok(_) => Ok(own.0),
        Err(error) if error.is_node_exists() => {
            let (data, _) = session.get_data(paths::CLUSTER_ID).await.map_err(failed("read the cluster id"))?;
            Ok(ClusterId::parse(paths::CLUSTER_ID, &data).map_err(failed("read the cluster id"))?.0)
        }
        Err(error) => Err(failed("create the cluster id")(error)),
    }
}

/// The next free broker id above `reserved.broker.max.id` (`ZkUtils.getBrokerSequenceId`: the version of a znode counts).
///
/// # Errors
/// The session's.
pub async fn generate_broker_id(session: &Session, reserved_max: i32) -> Result<i32, BrokerError> {
    let stat = session.set_data(paths::BROKER_SEQUENCE_ID, "", -1).await.map_err(failed("generate a broker id"))?;
    Ok(reserved_max.saturating_add(stat.version))
}

/// What this broker's znode says of it.
#[must_use]
pub fn describe(config: &BrokerConfig, advertised: &[Endpoint], clock: Clock) -> BrokerRegistration {
    BrokerRegistration {
        endpoints: advertised.to_vec(),
        rack: config.rack.clone(),
        jmx_port: -1,
        timestamp_ms: clock.now_ms(),
        marker: Some(env!("CARGO_PKG_VERSION").to_owned()),
        ..BrokerRegistration::default()
    }
}

/// Refuses to share a tree with a live broker that waits for a controller's requests.
///
/// # Errors
/// [`BrokerError::ForeignBroker`].
pub fn refuse_foreign(image: &Image, own_id: i32, servers: &str) -> Result<(), BrokerError> {
    match image.brokers.values().find(|broker| !broker.is_tidemill && broker.id != own_id) {
        None => Ok(()),
        Some(foreign) => {
            let endpoint = foreign.endpoints.first();
            let address = endpoint.map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port)).unwrap_or_default();
            Err(BrokerError::ForeignBroker { id: foreign.id, address, servers: servers.to_owned() })
        }
    }
}

/// Refuses a number that a live broker has. [`register`] refuses it as well; this comes before anything is written for it to a log directory, and
/// before a partition of the other's is led here.
///
/// # Errors
/// [`BrokerError::RegistrationConflict`], or the session's.
pub async fn refuse_taken(session: &Session, id: i32, previous: &[i64], clock: Clock) -> Result<(), BrokerError> {
    let path = paths::broker_id(BrokerId(id));
    match session.try_get_data(&path).await.map_err(failed("look for a broker of this number"))? {
        Some((data, stat)) if !previous.contains(&stat.ephemeral_owner) => {
            Err(conflict(session, path, &data, clock).await)
        }
        _ => Ok(()),
    }
}

/// Who holds the registration, since when, and which number is free.
async fn conflict(session: &Session, path: String, data: &[u8], clock: Clock) -> BrokerError {
    let held = BrokerRegistration::parse(&path, data).ok();
    let holder = held.and_then(|held| {
        let endpoint = held.endpoints.into_iter().next()?;
        let age_s = clock.now_ms().saturating_sub(held.timestamp_ms).max(0) / 1000;
        Some(format!("{}:{}, for {age_s} s", endpoint.host, endpoint.port))
    });
    let taken = session.get_children(paths::BROKER_IDS).await.unwrap_or_default();
    let free = (0..=i32::MAX).find(|id| !taken.contains(&id.to_string())).unwrap_or_default();
    BrokerError::RegistrationConflict { path, holder: holder.unwrap_or_else(|| "another session".to_owned()), free }
}

/// Registers the broker. A registration that one of the earlier sessions of this very broker (`previous`) has left is replaced; any other is a conflict.
///
/// # Errors
/// [`BrokerError::RegistrationConflict`], or the session's.
pub async fn register(
    session: &Session,
    id: i32,
    registration: &BrokerRegistration,
    previous: &[i64],
    clock: Clock,
) -> Result<(), BrokerError> {
    let path = paths::broker_id(BrokerId(id));
    let action = "register this broker";
    let mut tries = 0;
    loop {
        tries += 1;
        match session.create(&path, registration.to_json(), CreateMode::Ephemeral).await {
            Ok(_) => {
                info!(%path, "registered broker");
                return Ok(());
            }
            Err(error) if error.is_node_exists() && tries <= REGISTER_TRIES_MAX => {}
            Err(error) => return Err(failed(action)(error)),
        }
        let Some((data, stat)) = session.try_get_data(&path).await.map_err(failed(action))? else { continue };
        if stat.ephemeral_owner == session.session_id() {
            // Its reply was lost.
            return Ok(());
        }
        if !previous.contains(&stat.ephemeral_owner) {
            return Err(conflict(session, path, &data, clock).await);
        }
        delete_left_over(session, &path, stat.version).await.map_err(failed(action))?;
    }
}

/// Removes what earlier sessions of this broker left, its registration among it: whoever leads its partitions meanwhile need not wait for their expiry.
///
/// # Errors
/// The session's.
pub async fn drop_previous(session: &Session, id: i32, previous: &[i64]) -> Result<(), BrokerError> {
    drop_old_controller(session, previous).await?;
    let (path, action) = (paths::broker_id(BrokerId(id)), "look for a registration of an earlier session");
    let Some((_, stat)) = session.try_get_data(&path).await.map_err(failed(action))? else { return Ok(()) };
    if previous.contains(&stat.ephemeral_owner) {
        delete_left_over(session, &path, stat.version).await.map_err(failed(action))?;
    }
    Ok(())
}

/// The epoch a broker registered with last, if it ever noted one.
///
/// # Errors
/// The session's.
pub async fn last_epoch(session: &Session, id: i32) -> Result<Option<i64>, BrokerError> {
    let path = paths::broker_epoch(BrokerId(id));
    let noted = session.try_get_data(&path).await.map_err(failed("read the last epoch of this broker"))?;
    Ok(noted.and_then(|(data, _)| parse_number(&path, &data).ok()))
}

/// Notes the epoch this broker is registered with, for its next start.
///
/// # Errors
/// The session's.
pub async fn note_epoch(session: &Session, id: i32, epoch: i64) -> Result<(), ZkError> {
    let path = paths::broker_epoch(BrokerId(id));
    match session.set_data(&path, epoch.to_string(), -1).await {
        Err(error) if error.is_no_node() => {
            session.create_recursive(&path, epoch.to_string(), CreateMode::Persistent).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

/// Gives up `/controller` if an earlier session of this broker still holds it.
///
/// # Errors
/// The session's.
async fn drop_old_controller(session: &Session, previous: &[i64]) -> Result<(), BrokerError> {
    let action = "look for a controller of an earlier session";
    let Some((_, stat)) = session.try_get_data(paths::CONTROLLER).await.map_err(failed(action))? else { return Ok(()) };
    if previous.contains(&stat.ephemeral_owner) {
        delete_left_over(session, paths::CONTROLLER, stat.version).await.map_err(failed(action))?;
    }
    Ok(())
}

async fn delete_left_over(session: &Session, path: &str, version: i32) -> Result<(), ZkError> {
    info!(%path, "removing what an earlier session of this broker left");
    match session.delete(path, version).await {
        Err(error) if !error.is_no_node() && !error.is_bad_version() => Err(error),
        _ => Ok(()),
    }
}

/// The notes that tell the next owner of the log directories which sessions were ours, the newest last: until a broker has registered, what it finds in the tree may be
/// left from any run before.
#[must_use]
pub fn session_notes(sessions: &[i64]) -> String {
    let newest = &sessions[sessions.len().saturating_sub(SESSIONS_NOTED_MAX)..];
    newest.iter().map(|session| format!("{SESSION_NOTE}{session:#x}\n")).collect()
}

/// The sessions of the last owners, out of the text of their lock file.
pub fn noted_sessions(lock_file: &str) -> impl Iterator<Item = i64> {
    let hex = lock_file.lines().filter_map(|line| line.strip_prefix(SESSION_NOTE)?.strip_prefix("0x"));
    hex.filter_map(|hex| u64::from_str_radix(hex, 16).ok().map(u64::cast_signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_read_back_from_their_notes() {
        for sessions in [&[][..], &[1], &[0x1000_0000_abcd, -5, 7]] {
            let text = format!("4711\n{}", session_notes(sessions));
            assert_eq!(noted_sessions(&text).collect::<Vec<_>>(), sessions);
        }
        let many: Vec<i64> = (0..100).collect();
        assert_eq!(noted_sessions(&session_notes(&many)).collect::<Vec<_>>(), many[100 - SESSIONS_NOTED_MAX..]);
    }
}
