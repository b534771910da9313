//! The connection around a fetcher: one task for each leader that is followed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use client::kafka::{ClientConfig, Connection, HostPort};
use protocol::messages::fetch::FetchRequest;
use runtime::Clock;
use storage::Flusher;
use tokio::sync::watch;
use tracing::{debug, info};

use super::{Fetcher, Fetchers};
use crate::config::BrokerConfig;
use crate::metadata::MetadataCache;
use crate::replica_manager::HostedPartition;

/// Longest wait for a connection to a leader: one that is cut off is tried again rather than waited for, which also is what heals first.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(2);

/// A leader answers within `replica.fetch.wait.max.ms`, and this much later at the latest, or the connection counts as dead. Kafka waits for
/// `replica.socket.timeout.ms` (30 s), and followers of a leader that was cut off for a moment stay out of sync as long.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);

/// First pause after a connection that failed; it doubles up to `replica.fetch.backoff.ms`.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest wait for this broker's own disk before a follower fetches on (`log.flush.before.ack=always`); past it the partition is asked for when the sync is through.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(30);

/// What all fetchers of a broker share.
#[derive(Clone)]
pub struct Common {
    /// What the broker was told.
    pub config: Arc<BrokerConfig>,
    /// This broker.
    pub id: i32,
    /// Where leaders are.
    pub metadata: MetadataCache,
    /// What syncs logs.
    pub flusher: Flusher,
    /// Source of the time.
    pub clock: Clock,
}

/// Runs a task for every fetcher, until the broker stops.
pub async fn run_fetchers(fetchers: Arc<Fetchers>, common: Common, mut stopped: watch::Receiver<bool>) {
    let mut running = BTreeSet::new();
    loop {
        for fetcher in fetchers.all() {
            if running.insert(fetcher.leader()) {
                runtime::spawn(run(fetcher, common.clone(), stopped.clone()));
            }
        }
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = fetchers.news() => {}
        }
    }
}

async fn run(fetcher: Arc<Fetcher>, common: Common, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        biased;
        _ = stopped.changed() => {}
        () = fetch_for_ever(&fetcher, &common) => {}
    }
}

async fn fetch_for_ever(fetcher: &Fetcher, common: &Common) {
    let mut connection: Option<Connection> = None;
    let mut pause = RECONNECT_PAUSE_MIN;
    loop {
        let now = common.clock.now();
        let (request, due, unflushed) = {
            let mut following = fetcher.following();
            (following.request(now, common.broker_epoch()), following.due(), following.take_unflushed())
        };
        for hosted in unflushed {
            common.flusher.request(hosted.log(), hosted.log().log_end_offset(), Box::new(|_| {}));
        }
        let Some(request) = request else {
            tokio::select! {
                biased;
                () = fetcher.woken.notified() => {}
                () = async { common.clock.sleep_until(due.unwrap_or(now)).await }, if due.is_some() => {}
            }
            continue;
        };
        match exchange(fetcher, common, &mut connection, &request).await {
            Ok(()) => pause = RECONNECT_PAUSE_MIN,
            Err(why) => {
                debug!(leader = fetcher.leader().0, %why, "cannot fetch from a leader");
                connection = None;
                fetcher.following().disconnected();
                common.clock.sleep(pause).await;
                pause = (pause * 2).min(common.config.replica_fetch.pause_max);
            }
        }
    }
}

/// One request and its answer. An error ends the connection.
async fn exchange(
    fetcher: &Fetcher,
    common: &Common,
    connection: &mut Option<Connection>,
    request: &FetchRequest,
) -> Result<(), String> {
    let open = match connection.take() {
        Some(open) if !open.is_closed() => open,
        // Who answers on a new connection may be another life of the leader, which knows of no session.
        Some(_) => return Err("the connection was lost".to_owned()),
        None => common.connect(fetcher.leader().0).await?,
    };
    let open = connection.insert(open);
    let version = open.version_of::<FetchRequest>().map_err(|error| error.to_string())?;
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let response =
        open.send_version_within(request, version, wait + ANSWER_WAIT_MAX).await.map_err(|error| error.to_string())?;
    let taken = fetcher.following().take(response, common.clock.now());
    common.flush(&taken.to_flush).await;
    if taken.refused { Err("the leader refuses to be fetched from".to_owned()) } else { Ok(()) }
}

impl Common {
    /// Epoch of this broker's registration, as the metadata show it; -1 for unknown.
    fn broker_epoch(&self) -> i64 {
        self.metadata.image().brokers.get(&self.id).map_or(-1, |own| own.epoch)
    }

    async fn connect(&self, leader: i32) -> Result<Connection, String> {
        let image = self.metadata.image();
        let listener = &self.config.listeners.inter_broker;
        let endpoint = image.brokers.get(&leader).and_then(|broker| broker.endpoint(listener));
        let endpoint = endpoint.ok_or_else(|| format!("broker {leader} is not registered on listener {listener}"))?;
        let address = HostPort { host: endpoint.host.clone(), port: endpoint.port };
        let mut config = ClientConfig::new(vec![address.clone()]);
        config.client_id = format!("broker-{}-fetcher-0", self.id);
        config.connection_setup_timeout = CONNECT_WAIT_MAX;
        config.api_version_request_timeout = ANSWER_WAIT_MAX;
        // The first batch comes whole, however large: as large as a request may be in which a producer brought it.
        let largest = usize::try_from(self.config.replica_fetch.response_bytes_max).unwrap_or_default();
        config.response_bytes_max = config.response_bytes_max.max(largest + self.config.network.request_bytes_max);
        let opened = Connection::connect(leader, &address, &config, None, self.clock).await;
        let opened = opened.map_err(|error| error.to_string())?;
        info!(leader, %address, "fetching from a leader");
        Ok(opened)
    }

    /// Has the disks sync what came, all at a time.
    async fn flush(&self, partitions: &[Arc<HostedPartition>]) {
        for hosted in partitions {
            self.flusher.request(hosted.log(), hosted.log().log_end_offset(), Box::new(|_| {}));
        }
        let deadline = self.clock.now() + FLUSH_WAIT_MAX;
        for hosted in partitions {
            let end = hosted.log().log_end_offset();
            if let Err(code) = hosted.wait_for_flush(end, &self.flusher, deadline).await {
                debug!(partition = %hosted.partition(), %code, "a follower's log is not synced");
            }
        }
    }
}
