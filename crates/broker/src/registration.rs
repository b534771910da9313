//! Joining the cluster: the parents of Kafka's tree, the cluster's id, this broker's id and its registration.

use client::zookeeper::znodes::{BrokerRegistration, ClusterId, Endpoint};
use client::zookeeper::{CreateMode, Session, ZkError, paths};
use protocol::types::{BrokerId, Uuid};
use runtime::{Clock, Random};
use tracing::info;

use crate::config::BrokerConfig;
use crate::error::BrokerError;
use crate::metadata::Image;

/// Times a registration is tried again after removing one of an earlier session of this broker.
const REGISTER_TRIES_MAX: usize = 3;

/// Line of the lock file that remembers the session: `zookeeper.session=0x...`.
const SESSION_NOTE: &str = "zookeeper.session=";

fn failed(action: &str) -> impl FnOnce(ZkError) -> BrokerError {
    let action = action.to_owned();
    move |error| BrokerError::ZooKeeper { action, cause: error.to_string() }
}

/// Makes the parents that Kafka's tools and brokers expect.
///
/// # Errors
/// The session's.
pub async fn ensure_parents(session: &Session) -> Result<(), BrokerError> {
    for path in paths::PERSISTENT {
        session.ensure_path(path).await.map_err(failed("create Kafka's parent znodes"))?;
    }
    Ok(())
}

/// The cluster's id, made by whoever comes first.
///
/// # Errors
/// The session's, or a znode that holds no id.
pub async fn cluster_id(session: &Session, random: Random) -> Result<String, BrokerError> {
    let own = ClusterId::from_uuid(Uuid::from_random_bytes(random.bytes()));
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
pub fn refuse_foreign(image: &Image, own_id: i32) -> Result<(), BrokerError> {
    match image.brokers.values().find(|broker| !broker.is_tidemill && broker.id != own_id) {
        None => Ok(()),
        Some(foreign) => {
            let endpoint = foreign.endpoints.first();
            let address = endpoint.map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port)).unwrap_or_default();
            Err(BrokerError::ForeignBroker { id: foreign.id, address })
        }
    }
}

/// Registers the broker. A registration that an earlier session of this very broker (`previous`) has left is replaced; any other is a conflict.
///
/// # Errors
/// [`BrokerError::RegistrationConflict`], or the session's.
pub async fn register(
    session: &Session,
    id: i32,
    registration: &BrokerRegistration,
    previous: Option<i64>,
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
        if previous != Some(stat.ephemeral_owner) {
            let holder =
                BrokerRegistration::parse(&path, &data).ok().and_then(|held| held.endpoints.into_iter().next());
            let holder =
                holder.map_or_else(|| "another session".to_owned(), |held| format!("{}:{}", held.host, held.port));
            return Err(BrokerError::RegistrationConflict { path, holder });
        }
        delete_left_over(session, &path, stat.version).await.map_err(failed(action))?;
    }
}

/// Gives up `/controller` if an earlier session of this broker still holds it.
///
/// # Errors
/// The session's.
pub async fn drop_old_controller(session: &Session, previous: Option<i64>) -> Result<(), BrokerError> {
    let action = "look for a controller of an earlier session";
    let Some((_, stat)) = session.try_get_data(paths::CONTROLLER).await.map_err(failed(action))? else { return Ok(()) };
    if previous == Some(stat.ephemeral_owner) {
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

/// The note that tells the next owner of the log directories which session was ours.
#[must_use]
pub fn session_note(session_id: i64) -> String {
    format!("{SESSION_NOTE}{session_id:#x}\n")
}

/// The session of the last owner, out of the text of its lock file.
#[must_use]
pub fn noted_session(lock_file: &str) -> Option<i64> {
    let hex = lock_file.lines().find_map(|line| line.strip_prefix(SESSION_NOTE))?.strip_prefix("0x")?;
    u64::from_str_radix(hex, 16).ok().map(u64::cast_signed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_back_from_its_note() {
        for session in [1, 0x1000_0000_abcd, -5] {
            assert_eq!(noted_session(&format!("4711\n{}", session_note(session))), Some(session));
        }
        assert_eq!(noted_session("4711\n"), None);
    }
}
