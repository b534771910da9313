//! All logs of a broker, in one or several `log.dirs`.
//!
//! Always true: each online directory is locked by this process and claimed for this broker; a partition is in one directory; a log that
//! could not be loaded is *offline*, its files are untouched, and its checkpoints are carried on. `.kafka_cleanshutdown` is there only between
//! a shutdown that synced everything and the next start.

mod checkpointing;
mod health;
mod load;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

pub use health::{LogDirState, LogDirStatus};
use parking_lot::{Mutex, RwLock};
use protocol::types::{Offset, TopicPartition, Uuid};
use runtime::disk::FileLock;
use runtime::{Clock, Disk, Random};

use crate::checkpoints::CLEAN_SHUTDOWN_FILE;
use crate::config::{LogConfig, LogManagerConfig};
use crate::error::{Result, StorageError};
use crate::file_cache::FileCache;
use crate::flusher::Flusher;
use crate::log::{Loaded, Log};
use crate::log_dir::{LogDir, PartitionDir};
use crate::recovery::{self, LoadOptions, LogRecovery};

/// Longest name of a directory on the file systems in use.
const NAME_BYTES_MAX: usize = 255;

/// Threads that close logs at a shutdown.
const CLOSING_THREADS_MAX: usize = 8;

/// Logs that are worth a thread of their own to close them.
const LOGS_PER_CLOSING_THREAD_MIN: usize = 32;

/// All logs of a broker.
#[derive(Debug)]
pub struct LogManager {
    disk: Disk,
    clock: Clock,
    cache: Arc<FileCache>,
    flusher: Flusher,
    dirs: Vec<ManagedDir>,
    logs: RwLock<HashMap<TopicPartition, Arc<Log>>>,
    offline: RwLock<BTreeMap<TopicPartition, OfflineLog>>,
    configs: RwLock<Configs>,
    /// Held while a log is made or deleted, so that two callers do not make the same one.
    changes: Mutex<()>,
    removals: Mutex<Vec<Removal>>,
    /// What the next clean shutdown is marked with.
    broker_epoch: AtomicI64,
}

#[derive(Debug)]
struct ManagedDir {
    log_dir: Arc<LogDir>,
    /// What the last owner noted in the lock file.
    previous_notes: Option<String>,
    /// Held from the start to the end of the shutdown; `None` where the directory could not be used.
    lock: Mutex<Option<FileLock>>,
    /// Logs in it that are served.
    logs: AtomicUsize,
}

#[derive(Debug)]
struct Configs {
    default: LogConfig,
    topics: HashMap<Arc<str>, LogConfig>,
}

/// A log that is not served, and what its checkpoints said.
#[derive(Debug, Clone)]
struct OfflineLog {
    error: StorageError,
    dir: PathBuf,
    recovery_point: i64,
    high_watermark: Option<i64>,
    log_start: Option<i64>,
}

/// A directory that is out of use and waits for its removal.
#[derive(Debug)]
struct Removal {
    path: PathBuf,
    remove_at_ms: i64,
}

/// What a start found.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// Logs that are served.
    pub logs: usize,
    /// Whether every directory was shut down cleanly, or is new. After a power cut logs may be gone whose records were never synced.
    pub clean: bool,
    /// Epochs of the broker that the marks of clean shutdowns name; empty where there are no marks, or older ones.
    pub clean_epochs: BTreeSet<i64>,
    /// Logs that needed more than to be opened.
    pub recovered: Vec<(TopicPartition, LogRecovery)>,
    /// Logs that are not served, and why.
    pub offline: Vec<(TopicPartition, StorageError)>,
    /// Directories that are not used, and why.
    pub offline_dirs: Vec<(PathBuf, StorageError)>,
    /// How long it took, in ms.
    pub elapsed_ms: i64,
}

/// One log directory as DescribeLogDirs shows it.
#[derive(Debug, Clone)]
pub struct LogDirDescription {
    /// The directory.
    pub path: PathBuf,
    /// Why it is offline, if it is.
    pub error: Option<StorageError>,
    /// Bytes that may still be written; `None` where the file system does not say.
    pub usable_bytes: Option<u64>,
    /// Each log with its size in bytes.
    pub logs: Vec<(TopicPartition, u64)>,
}

impl LogManager {
    /// Locks and claims the directories (made where absent), loads every log in them, and checks those that a crash left.
    ///
    /// # Errors
    /// Another process holds a directory, a directory belongs to another broker or cluster, or no directory can be used.
    pub fn open(config: LogManagerConfig, disk: Disk, clock: Clock) -> Result<(LogManager, RecoveryReport)> {
        load::open(config, disk, clock)
    }

    /// The log of a partition.
    #[must_use]
    pub fn get(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs.read().get(partition).cloned()
    }

    /// The log of a partition, made in the directory with the fewest logs where there is none. `topic_id` is checked against
    /// `partition.metadata`, and written there.
    ///
    /// # Errors
    /// The log is offline; [`StorageError::TopicIdMismatch`]; or it cannot be made.
    pub fn get_or_create(
        &self,
        partition: &TopicPartition,
        topic_id: Option<Uuid>,
        config: LogConfig,
    ) -> Result<Arc<Log>> {
        let topic_id = topic_id.filter(|id| *id != Uuid::ZERO);
        let mut existing = self.get(partition);
        let mut changes = None;
        if existing.is_none() {
            changes = Some(self.changes.lock());
            existing = self.get(partition);
        }
        if let Some(log) = existing {
            drop(changes);
            if let Some(id) = topic_id {
                log.assign_topic_id(id)?;
            }
            return Ok(log);
        }
        if let Some(offline) = self.offline.read().get(partition) {
            return Err(offline.error.clone());
        }
        let log = self.create(partition, topic_id, config)?;
        self.serve(&log);
        Ok(log)
    }

    fn serve(&self, log: &Arc<Log>) {
        if let Some(managed) = self.dirs.iter().find(|managed| Arc::ptr_eq(&managed.log_dir, log.dir().log_dir())) {
            managed.logs.fetch_add(1, Ordering::Relaxed);
        }
        self.logs.write().insert(log.partition().clone(), log.clone());
    }

    fn create(&self, partition: &TopicPartition, topic_id: Option<Uuid>, config: LogConfig) -> Result<Arc<Log>> {
        let name = partition.to_string();
        let bad_name = || StorageError::BadName { partition: partition.clone() };
        if parse_partition(&name).as_ref() != Some(partition)
            || name.len() > NAME_BYTES_MAX
            || name.contains(['/', '\0'])
        {
            return Err(bad_name());
        }
        let managed = self.emptiest_dir()?;
        let log_dir = &managed.log_dir;
        self.forget_checkpoints(managed, partition)?;
        let path = log_dir.path().join(&name);
        let now_ms = self.clock.now_ms();
        let (dir, loaded) = match log_dir.make_log(path.clone())? {
            Some(dir) => {
                let dir = Arc::new(dir);
                let loaded = recovery::begin(partition, &dir, &self.cache, now_ms)?;
                (dir, loaded)
            }
            // Left by an attempt that found no room, for one.
            None => {
                log_dir.sync_names()?;
                let dir = Arc::new(PartitionDir::new(log_dir.clone(), path));
                let options = LoadOptions {
                    clean: true,
                    recovery_point: 0,
                    recovery_point_is_exact: false,
                    log_start: 0,
                    was_cleaned: false,
                    now_ms,
                };
                let (loaded, _) = recovery::load(partition, &dir, &self.cache, &config, options, &Default::default())?;
                (dir, Loaded { is_named: false, is_untouched: false, ..loaded })
            }
        };
        let log = Log::assemble(partition.clone(), dir, self.cache.clone(), self.clock, config, loaded);
        self.adopt(&log);
        if let Some(id) = topic_id {
            log.assign_topic_id(id)?;
        }
        tracing::debug!(%partition, dir = %log.dir().path().display(), "created a log");
        Ok(log)
    }

    fn adopt(&self, log: &Arc<Log>) {
        // A log is adopted once, so the flusher cannot be set already.
        let _ = log.flusher.set(self.flusher.clone());
    }

    fn emptiest_dir(&self) -> Result<&ManagedDir> {
        let online = self.dirs.iter().filter(|dir| dir.log_dir.check().is_ok());
        online.min_by_key(|dir| dir.logs.load(Ordering::Relaxed)).ok_or(StorageError::NoDirOnline)
    }

    /// Takes what earlier checkpoints say of a partition off the disk: a new log of that name must not inherit it.
    fn forget_checkpoints(&self, dir: &ManagedDir, partition: &TopicPartition) -> Result<()> {
        dir.log_dir.recovery_points.lower(&dir.log_dir, partition, 0)?;
        dir.log_dir.cleaned.forget(&dir.log_dir, partition)?;
        dir.log_dir.log_starts.forget(&dir.log_dir, partition)
    }

    /// Takes a log out of use. Its directory is renamed now and removed after `file.delete.delay.ms`; readers that hold ranges of it read on.
    /// Gives whether there was one. An offline log goes too.
    ///
    /// # Errors
    /// The directory cannot be renamed; it is offline then.
    pub fn delete(&self, partition: &TopicPartition) -> Result<bool> {
        let Some((path, delay_ms)) = self.detach(partition, "delete")? else { return Ok(false) };
        if let Some(path) = path {
            let remove_at_ms = self.clock.now_ms().saturating_add(delay_ms);
            self.removals.lock().push(Removal { path, remove_at_ms });
            tracing::info!(%partition, "marked a log for deletion");
        }
        Ok(true)
    }

    /// Takes a log out of use and keeps its directory under another name, which no start looks at (Kafka's stray logs, KAFKA-14616). Gives that
    /// directory, if there was a log.
    ///
    /// # Errors
    /// As [`LogManager::delete`].
    pub fn set_aside(&self, partition: &TopicPartition) -> Result<Option<PathBuf>> {
        Ok(self.detach(partition, "stray")?.and_then(|(path, _)| path))
    }

    /// Renames the directory of a log, online or offline, to `<topic>-<partition>.<uuid>-<suffix>` and forgets the log. Gives the new name, where there is a
    /// directory, and the log's `file.delete.delay.ms`.
    fn detach(&self, partition: &TopicPartition, suffix: &str) -> Result<Option<(Option<PathBuf>, i64)>> {
        let _changes = self.changes.lock();
        let log = self.logs.write().remove(partition);
        let offline = self.offline.write().remove(partition);
        let (dir, delay_ms) = match (&log, &offline) {
            (Some(log), _) => {
                log.abandon();
                (log.dir().clone(), log.config().file_delete_delay_ms)
            }
            (None, Some(offline)) => {
                let Some(managed) = self.dirs.iter().find(|dir| offline.dir.parent() == Some(dir.log_dir.path()))
                else {
                    return Ok(Some((None, 0)));
                };
                managed.log_dir.check()?;
                let dir = PartitionDir::new(managed.log_dir.clone(), offline.dir.clone());
                (Arc::new(dir), LogConfig::default().file_delete_delay_ms)
            }
            (None, None) => return Ok(None),
        };
        let log_dir = dir.log_dir();
        if let (Some(_), Some(managed)) =
            (&log, self.dirs.iter().find(|managed| Arc::ptr_eq(&managed.log_dir, log_dir)))
        {
            managed.logs.fetch_sub(1, Ordering::Relaxed);
        }
        log_dir.check()?;
        let to = log_dir.path().join(parted_name(partition, suffix));
        dir.rename(to.clone()).map_err(|error| log_dir.fail("rename", &dir.path(), error))?;
        if let Some(managed) = self.dirs.iter().find(|managed| Arc::ptr_eq(&managed.log_dir, log_dir)) {
            self.forget_checkpoints(managed, partition)?;
        }
        Ok(Some((Some(to), delay_ms)))
    }

    /// Changes the settings of a topic: of its logs, and of those made later.
    pub fn update_config(&self, topic: &str, config: LogConfig) {
        self.configs.write().topics.insert(Arc::from(topic), config.clone());
        for log in self.all() {
            if &*log.partition().topic == topic {
                log.update_config(config.clone());
            }
        }
    }

    /// Settings of a topic: its own, or the default.
    #[must_use]
    pub fn config_of(&self, topic: &str) -> LogConfig {
        let configs = self.configs.read();
        configs.topics.get(topic).unwrap_or(&configs.default).clone()
    }

    /// All logs that are served, by name.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Log>> {
        let mut logs: Vec<Arc<Log>> = self.logs.read().values().cloned().collect();
        logs.sort_by(|a, b| a.partition().cmp(b.partition()));
        logs
    }

    /// The log directories, in the order configured.
    pub fn dirs(&self) -> impl Iterator<Item = &LogDir> {
        self.dirs.iter().map(|dir| &*dir.log_dir)
    }

    /// The logs that are not served, and why; those of directories that went offline among them.
    #[must_use]
    pub fn offline(&self) -> Vec<(TopicPartition, StorageError)> {
        let mut offline: Vec<_> =
            self.offline.read().iter().map(|(partition, log)| (partition.clone(), log.error.clone())).collect();
        for log in self.all() {
            if let Err(error) = log.check_open() {
                offline.push((log.partition().clone(), error));
            }
        }
        offline
    }

    /// What syncs the logs.
    #[must_use]
    pub fn flusher(&self) -> &Flusher {
        &self.flusher
    }

    /// Each directory with its state and the sizes of its logs.
    #[must_use]
    pub fn describe(&self) -> Vec<LogDirDescription> {
        let logs = self.all();
        self.dirs
            .iter()
            .map(|dir| LogDirDescription {
                path: dir.log_dir.path().to_owned(),
                error: dir.log_dir.check().err(),
                usable_bytes: self.disk.free_bytes(dir.log_dir.path()).ok(),
                logs: logs
                    .iter()
                    .filter(|log| Arc::ptr_eq(log.dir().log_dir(), &dir.log_dir))
                    .map(|log| (log.partition().clone(), log.size()))
                    .collect(),
            })
            .collect()
    }

    /// Notes in the lock files for the next owner of the directories (the id of the ZooKeeper session).
    ///
    /// # Errors
    /// What the file system says.
    pub fn write_lock_notes(&self, notes: &str) -> Result<()> {
        for dir in &self.dirs {
            if let Some(lock) = &*dir.lock.lock() {
                let path = dir.log_dir.path().join(load::LOCK_FILE);
                lock.write_notes(notes).map_err(|error| StorageError::io("write", &path, error))?;
            }
        }
        Ok(())
    }

    /// What the last owner of a directory noted by [`LogManager::write_lock_notes`], first found first.
    #[must_use]
    pub fn previous_lock_notes(&self) -> Option<&str> {
        self.dirs.iter().find_map(|dir| dir.previous_notes.as_deref())
    }

    /// Removes segments that retention no longer wants, in every log. Gives how many went. Errors are logged and do not stop the others.
    pub fn run_retention(&self, now_ms: i64) -> usize {
        self.for_each_log("retention", |log| log.run_retention(now_ms)).into_iter().sum()
    }

    /// The work of time in every log (syncs by `flush.ms`, delayed removals, idle logs), and directories marked for deletion whose delay is
    /// over. Errors are logged and do not stop the others.
    pub fn run_maintenance(&self, now_ms: i64) {
        self.watch_space();
        self.for_each_log("maintenance", |log| log.run_maintenance(now_ms));
        let due: Vec<Removal> = {
            let mut removals = self.removals.lock();
            let (due, waiting) =
                std::mem::take(&mut *removals).into_iter().partition(|removal| removal.remove_at_ms <= now_ms);
            *removals = waiting;
            due
        };
        for removal in due {
            match self.disk.remove_dir_all(&removal.path) {
                Ok(()) => tracing::info!(dir = %removal.path.display(), "removed a deleted log"),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(dir = %removal.path.display(), %error, "cannot remove a deleted log; the next start tries again")
                }
            }
        }
    }

    fn for_each_log<T>(&self, work: &str, mut run: impl FnMut(&Log) -> Result<T>) -> Vec<T> {
        let mut done = Vec::new();
        for log in self.all() {
            match run(&log) {
                Ok(result) => done.push(result),
                // An offline directory has said so once.
                // So has a full one.
                Err(StorageError::DirOffline { .. } | StorageError::Closed { .. } | StorageError::NoSpace { .. }) => {}
                Err(error) => tracing::warn!(partition = %log.partition(), %error, "{work} failed"),
            }
        }
        done
    }

    /// Sets what a clean shutdown is marked with: the broker's epoch by then (KIP-966), -1 until it is known.
    pub fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
    }

    /// Closes every log, writes the checkpoints, and notes that the shutdown was clean: in each directory where everything reached the disk
    /// and no log is offline. Logs that callers still hold refuse further use.
    ///
    /// # Errors
    /// The first failure; the next start checks that directory then.
    pub fn shutdown(&self) -> Result<()> {
        self.flusher.shutdown();
        let mut first_error = None;
        for dir in &self.dirs {
            if let Err(error) = self.shutdown_dir(dir) {
                tracing::warn!(dir = %dir.log_dir.path().display(), %error, "the shutdown was not clean");
                first_error.get_or_insert(error);
            }
            *dir.lock.lock() = None;
        }
        first_error.map_or(Ok(()), Err)
    }

    fn shutdown_dir(&self, dir: &ManagedDir) -> Result<()> {
        dir.log_dir.check()?;
        close_all(self.logs_of(dir))?;
        self.write_checkpoints_of(dir)?;
        if self.offline_of(dir).is_empty() {
            let path = dir.log_dir.path().join(CLEAN_SHUTDOWN_FILE);
            let epoch = self.broker_epoch.load(Ordering::Relaxed);
            self.disk
                .write_atomic(&path, format!("{{\"version\":0,\"brokerEpoch\":{epoch}}}").as_bytes())
                .map_err(|error| StorageError::io("write", &path, error))?;
        }
        Ok(())
    }
}

impl LogManager {
    /// Lets go of everything as the end of the process would: nothing more is written, and the locks are free. For simulated crashes.
    pub fn abandon(&self) {
        for log in self.all() {
            log.abandon();
        }
        self.flusher.shutdown();
        for dir in &self.dirs {
            *dir.lock.lock() = None;
        }
    }
}

impl Drop for LogManager {
    fn drop(&mut self) {
        self.flusher.stop();
    }
}

/// Closes logs, several at a time where they are many: each waits for the disk a few times, which serves those that wait together at once.
fn close_all(logs: Vec<Arc<Log>>) -> Result<()> {
    let threads = (logs.len() / LOGS_PER_CLOSING_THREAD_MIN).min(CLOSING_THREADS_MAX);
    if threads < 2 {
        return logs.iter().try_for_each(|log| log.close());
    }
    let queue = Arc::new(Mutex::new(logs));
    let mut workers = Vec::new();
    for number in 0..threads {
        let queue = queue.clone();
        let work = move || loop {
            let Some(log) = queue.lock().pop() else { return Ok(()) };
            log.close()?;
        };
        let worker = runtime::thread(format!("log-closing-{number}"), work);
        workers.push(worker.map_err(|error| StorageError::io("start a thread to close", Path::new("logs"), error))?);
    }
    let mut closed = Ok(());
    for worker in workers {
        match worker.join() {
            Ok(result) => closed = closed.and(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    closed
}

/// `<topic>-<partition>` of a directory name.
fn parse_partition(name: &str) -> Option<TopicPartition> {
    let (topic, number) = name.rsplit_once('-')?;
    if topic.is_empty() || number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let partition: i32 = number.parse().ok()?;
    (number == partition.to_string()).then(|| TopicPartition::new(topic, partition))
}

/// `<topic>-<partition>.<uuid>-<suffix>`, the topic cut so that the name fits.
fn parted_name(partition: &TopicPartition, suffix: &str) -> String {
    let id: String = Random::real().bytes::<16>().iter().map(|byte| format!("{byte:02x}")).collect();
    let suffix = format!("-{}.{id}-{suffix}", partition.partition);
    let mut topic: &str = &partition.topic;
    while topic.len() + suffix.len() > NAME_BYTES_MAX {
        let mut end = topic.len() - 1;
        while !topic.is_char_boundary(end) {
            end -= 1;
        }
        topic = &topic[..end];
    }
    format!("{topic}{suffix}")
}

/// Whether a directory was marked for deletion.
fn is_deleted_name(name: &str) -> bool {
    name.strip_suffix("-delete").and_then(|rest| rest.rsplit_once('.')).is_some_and(|(partition, id)| {
        parse_partition(partition).is_some() && id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests;
