//! Starting and stopping: directories, lock, recovery, port, threads.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use runtime::clock::Seldom;
use runtime::disk::Open as OpenFile;
use runtime::net::Listener;
use runtime::{Clock, Disk, Random, spawn};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::KeeperConfig;
use crate::connection::{self, LARGE_FRAME_BYTES_MAX, Shared};
use crate::error::{KeeperError, is_full_disk};
use crate::owner::Owner;
use crate::processor::Processor;
use crate::recovery::{DATA_FOLDER, recover};
use crate::status::{Gauges, KeeperMonitor, KeeperStatus};

/// Pause after `accept` failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Made and removed at each start, to see that files can be made.
const PROBE_FILE: &str = ".writable";
/// From one word on failed accepts to the next.
const ACCEPT_WARNING_PAUSE: Duration = Duration::from_secs(30);
/// File in the data directory that a running keeper holds locked, with its process id in it.
pub const LOCK_FILE: &str = "keeper.lock";

/// How long connections may take to send their last replies when the keeper stops.
const STOP_TIME_MAX: Duration = Duration::from_millis(500);

/// How often the stopping keeper looks whether they have.
const STOP_CHECK: Duration = Duration::from_millis(2);

/// A running keeper. It serves on threads of its own, so it may be started from anywhere; dropping it stops it.
#[derive(Debug)]
pub struct Keeper {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    gauges: Arc<Gauges>,
    thread: Option<JoinHandle<Result<(), KeeperError>>>,
}

impl Keeper {
    /// Takes the directories, recovers, binds the port, and serves. Returns when clients can connect.
    pub fn start(config: KeeperConfig) -> Result<Keeper, KeeperError> {
        Keeper::start_on(Disk::real(), config)
    }

    /// As [`Keeper::start`], on a disk that need not be the machine's own.
    pub fn start_on(disk: Disk, config: KeeperConfig) -> Result<Keeper, KeeperError> {
        let (ready_sender, ready) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = watch::channel(false);
        let gauges = Arc::new(Gauges::default());
        let thread_gauges = gauges.clone();
        let thread = runtime::thread("keeper", move || {
            let result = serve(disk, config, thread_gauges, stopped, &ready_sender);
            end.send_replace(true);
            result
        });
        let thread = thread.map_err(|source| KeeperError::Start { what: "thread", source })?;
        match ready.recv() {
            Ok(address) => Ok(Keeper { address, stop, ended, gauges, thread: Some(thread) }),
            // The thread ended before it was ready, and its result says why.
            Err(_) => match thread.join() {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) | Err(_) => Err(KeeperError::Panicked),
            },
        }
    }

    /// Address that clients connect to, with the port that was really taken.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// How it is doing, as of its last turn.
    pub fn status(&self) -> KeeperStatus {
        self.gauges.read()
    }

    /// A look at it that outlives it.
    pub fn monitor(&self) -> KeeperMonitor {
        KeeperMonitor { gauges: self.gauges.clone(), ended: self.ended.clone() }
    }

    /// Resumes when the keeper has ended, by itself or because it was told to. [`Keeper::shutdown`] then says why.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // A sender that is gone is a thread that is gone.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Stops: no more requests, everything said is on disk, connections closed, files closed. Sessions live on for the next start. An error is what ended the keeper.
    pub async fn shutdown(mut self) -> Result<(), KeeperError> {
        self.stop.send_replace(true);
        self.ended().await;
        self.join()
    }

    fn join(&mut self) -> Result<(), KeeperError> {
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or(Err(KeeperError::Panicked)),
            None => Ok(()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Err(error) = self.join() {
            tracing::error!("{error}");
        }
    }
}

fn serve(
    disk: Disk,
    config: KeeperConfig,
    gauges: Arc<Gauges>,
    stop: watch::Receiver<bool>,
    ready: &std::sync::mpsc::SyncSender<SocketAddr>,
) -> Result<(), KeeperError> {
    let (clock, random) = (Clock::real(), Random::real());
    let runtime =
        runtime::spawn::current_thread().map_err(|source| KeeperError::Start { what: "event loop", source })?;
    let result = runtime.block_on(async {
        let listener = bind(config.address)?;
        let address = listener.local_addr().map_err(|source| KeeperError::Bind { address: config.address, source })?;
        let _lock = prepare_directories(disk, &config)?;
        let recovered = recover(disk, random, &config)?;
        tracing::info!(
            "keeper on {address}, data in {}: zxid 0x{:x}, {} nodes, {} sessions, {} transactions replayed",
            config.data_dir.display(),
            recovered.state.zxid,
            recovered.state.tree.node_count(),
            recovered.state.sessions.len(),
            recovered.report.replayed
        );
        if !address.ip().is_loopback() {
            tracing::warn!(
                "clients of other machines can connect to {address} without authentication (clientPortAddress)"
            );
        }
        if !config.force_sync {
            tracing::warn!("forceSync=no: a power cut loses writes that were acknowledged");
        }
        let config = Arc::new(config);
        let processor = Processor::new(config.clone(), clock, random, recovered.state);
        let owner =
            Owner::new(processor, clock, recovered.wal, recovered.snapshots, recovered.report.replayed, gauges)?;
        let (commands, messages) = mpsc::channel(config.global_outstanding_limit);
        let large_frames = Arc::new(Semaphore::new(LARGE_FRAME_BYTES_MAX));
        let shared = Arc::new(Shared { config, clock, commands, large_frames });
        let open = Arc::new(Mutex::new(Open::default()));
        let accepting = spawn(accept(listener, shared, open.clone()));
        let _ = ready.send(address);
        let result = owner.run(messages, stop).await;
        accepting.abort();
        // Connections still have their last replies to write; clients then close their side.
        let deadline = clock.now() + STOP_TIME_MAX;
        while clock.now() < deadline && open.lock().unwrap_or_else(PoisonError::into_inner).count > 0 {
            clock.sleep(STOP_CHECK).await;
        }
        result
    });
    runtime.shutdown_timeout(STOP_TIME_MAX);
    result
}

fn bind(address: SocketAddr) -> Result<Listener, KeeperError> {
    Listener::bind(address).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => KeeperError::AddressInUse { address },
        _ => KeeperError::Bind { address, source },
    })
}

/// Makes the directories and takes their locks; refuses those of Apache ZooKeeper.
fn prepare_directories(disk: Disk, config: &KeeperConfig) -> Result<Vec<runtime::disk::FileLock>, KeeperError> {
    let mut directories = vec![config.data_dir.as_path()];
    if config.log_dir() != config.data_dir {
        directories.push(config.log_dir());
    }
    directories.into_iter().map(|directory| prepare_directory(disk, directory)).collect()
}

fn prepare_directory(disk: Disk, directory: &Path) -> Result<runtime::disk::FileLock, KeeperError> {
    if disk.exists(&directory.join("version-2")) {
        return Err(KeeperError::ForeignData { dir: directory.to_owned() });
    }
    let data = directory.join(DATA_FOLDER);
    disk.create_dir_all(&data).map_err(KeeperError::io("create the directory", &data))?;
    disk.sync_dir(directory).map_err(KeeperError::io("sync the directory", directory))?;
    let path = directory.join(LOCK_FILE);
    let lock = disk.try_lock(&path).map_err(KeeperError::io("lock", &path))?;
    let lock =
        lock.ok_or_else(|| KeeperError::Locked { dir: directory.to_owned(), holder: disk.lock_holder(&path) })?;
    // The log is made with the first transaction: that nothing can be written there is told now, not then. A full disk is waited for.
    let probe = data.join(PROBE_FILE);
    match disk.open(&probe, OpenFile::Create) {
        Ok(_) => disk.remove_file(&probe).map_err(KeeperError::io("remove the file", &probe))?,
        Err(error) if is_full_disk(&error) => {}
        Err(error) => return Err(KeeperError::io("create the file", &probe)(error)),
    }
    Ok(lock)
}

/// Connections open now, in all and by address.
#[derive(Debug, Default)]
struct Open {
    count: usize,
    by_address: HashMap<IpAddr, usize>,
}

async fn accept(listener: Listener, shared: Arc<Shared>, open: Arc<Mutex<Open>>) {
    let mut failing = Seldom::new(shared.clock, ACCEPT_WARNING_PAUSE);
    for id in 1.. {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if failing.is_due() {
                    tracing::warn!("cannot accept a connection: {error}");
                }
                shared.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = Place::take(&open, peer.ip(), &shared.config) else {
            tracing::warn!("{peer} is turned away: too many connections (maxClientCnxns, maxCnxns)");
            continue;
        };
        let shared = shared.clone();
        spawn(async move {
            connection::serve(stream, peer, id, shared).await;
            drop(place);
        });
    }
}

/// One connection's place among those that may be open.
struct Place {
    open: Arc<Mutex<Open>>,
    address: IpAddr,
}

impl Place {
    fn take(open: &Arc<Mutex<Open>>, address: IpAddr, config: &KeeperConfig) -> Option<Place> {
        let mut now = open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = now.by_address.get(&address).copied().unwrap_or(0);
        let under = |limit: usize, count: usize| limit == 0 || count < limit;
        if !under(config.max_client_connections, of_address) || !under(config.max_connections, now.count) {
            return None;
        }
        now.count += 1;
        now.by_address.insert(address, of_address + 1);
        Some(Place { open: open.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut now = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        now.count -= 1;
        if let Some(count) = now.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                now.by_address.remove(&self.address);
            }
        }
    }
}
