//! The start of a log manager: lock, claim, read checkpoints, load the logs, several at a time.

use super::*;
use std::collections::VecDeque;

use crate::checkpoints::{self, CLEANER_FILE, HIGH_WATERMARK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::log_dir::StoredOffsets;
use crate::meta_properties;
use crate::progress::RecoveryProgress;

/// Held by the broker that uses a log directory; holds its process id.
pub(super) const LOCK_FILE: &str = ".lock";

/// A partition's directory to load.
struct Job {
    partition: TopicPartition,
    dir: Arc<PartitionDir>,
    config: LogConfig,
    options: LoadOptions,
    high_watermark: Option<i64>,
    log_start: Option<i64>,
}

struct Loaded {
    job: Job,
    result: Result<(Arc<Log>, LogRecovery)>,
}

/// What the directories hold, before the logs are loaded.
#[derive(Default)]
struct Found {
    jobs: Vec<Job>,
    removals: Vec<Removal>,
    unclean: bool,
    clean_epochs: BTreeSet<i64>,
}

pub(super) fn open(config: LogManagerConfig, disk: Disk, clock: Clock) -> Result<(LogManager, RecoveryReport)> {
    let started_ms = clock.now_ms();
    let mut report = RecoveryReport { clean: true, ..RecoveryReport::default() };
    let mut dirs = Vec::new();
    let mut found = Found::default();
    for path in &config.dirs {
        let log_dir = Arc::new(LogDir::new(path.clone(), disk));
        let previous_notes = previous_notes(&log_dir);
        let is_new = !meta_properties::is_there(disk, path);
        let lock = match lock_and_claim(&log_dir, &config) {
            Ok(lock) => Some(lock),
            Err(error @ (StorageError::Io { .. } | StorageError::Checkpoint { .. })) => {
                log_dir.keep_offline(&error);
                report.offline_dirs.push((path.clone(), error));
                None
            }
            Err(error) => return Err(error),
        };
        if lock.is_some()
            && let Err(error) = survey(&log_dir, is_new, &config, clock.now_ms(), &mut found)
        {
            log_dir.keep_offline(&error);
            report.offline_dirs.push((path.clone(), error));
        }
        dirs.push(ManagedDir { log_dir, previous_notes, lock: Mutex::new(lock), logs: AtomicUsize::new(0) });
    }
    if dirs.iter().all(|dir| dir.log_dir.check().is_err()) {
        return Err(report.offline_dirs.into_iter().next().map_or(StorageError::NoDirOnline, |(_, error)| error));
    }
    report.clean = !found.unclean;
    report.clean_epochs = found.clean_epochs;
    let cache = FileCache::new(config.open_files_max);
    let flusher_failed = |error| StorageError::io("start a thread for", &config.dirs[0], error);
    let manager = LogManager {
        disk,
        clock,
        cache: cache.clone(),
        flusher: Flusher::start(config.flusher_threads).map_err(flusher_failed)?,
        dirs,
        logs: RwLock::new(HashMap::new()),
        offline: RwLock::new(BTreeMap::new()),
        configs: RwLock::new(Configs { default: config.default_config.clone(), topics: config.topic_configs.clone() }),
        changes: Mutex::new(()),
        removals: Mutex::new(found.removals),
        broker_epoch: AtomicI64::new(-1),
    };
    let threads = config.recovery_threads_per_dir.max(1) * config.dirs.len();
    config.progress.begin(found.jobs.len(), found.unclean);
    for loaded in load_all(found.jobs, threads, &cache, clock, &config.progress)? {
        manager.take(loaded, &mut report);
    }
    if found.unclean {
        // What was checked is durable from here on, and the next crash need not check it again.
        for log in manager.all() {
            if log.flush().is_err() {
                report
                    .offline_dirs
                    .extend(log.check_open().err().map(|error| (log.dir().log_dir().path().to_owned(), error)));
            }
        }
        if let Err(error) = manager.write_checkpoints() {
            tracing::warn!(%error, "cannot write checkpoints after recovery");
        }
    }
    report.logs = manager.logs.read().len();
    report.elapsed_ms = clock.now_ms().saturating_sub(started_ms);
    Ok((manager, report))
}

/// The lock file after its first line, before it is locked and written anew.
fn previous_notes(log_dir: &LogDir) -> Option<String> {
    const LOCK_BYTES_MAX: u64 = 4096;
    let bytes = log_dir.disk().read(&log_dir.path().join(LOCK_FILE), LOCK_BYTES_MAX).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (_, notes) = text.split_once('\n')?;
    Some(notes.to_owned()).filter(|notes| !notes.is_empty())
}

fn lock_and_claim(log_dir: &LogDir, config: &LogManagerConfig) -> Result<FileLock> {
    let (disk, path) = (log_dir.disk(), log_dir.path());
    disk.create_dir_all(path).map_err(|error| StorageError::io("create log directory", path, error))?;
    let lock_path = path.join(LOCK_FILE);
    let lock = disk
        .try_lock(&lock_path)
        .map_err(|error| StorageError::io("lock", &lock_path, error))?
        .ok_or_else(|| StorageError::Locked { dir: path.to_owned(), holder: disk.lock_holder(&lock_path) })?;
    meta_properties::claim(disk, path, config.broker_id.0, config.cluster_id.as_deref())?;
    Ok(lock)
}

/// Lists the logs in a directory. The mark of a clean shutdown is taken off: a crash from here on is one.
fn survey(
    log_dir: &Arc<LogDir>,
    is_new: bool,
    config: &LogManagerConfig,
    now_ms: i64,
    found: &mut Found,
) -> Result<()> {
    let (disk, path) = (log_dir.disk(), log_dir.path());
    let read = |file: &str, stored: &StoredOffsets, instead: &str| {
        let read = read_checkpoint(disk, &path.join(file), instead)?;
        if read.is_none() {
            stored.set_damaged();
        }
        Ok(read)
    };
    let recovery_points = read(
        RECOVERY_POINT_FILE,
        &log_dir.recovery_points,
        "nothing in the directory is taken for synced: every checksum is computed",
    )?;
    let high_watermarks =
        read(HIGH_WATERMARK_FILE, &log_dir.high_watermarks, "nothing counts as committed until the replicas say so")?;
    let log_starts =
        read(LOG_START_FILE, &log_dir.log_starts, "records that were deleted by DeleteRecords may be seen again")?;
    let cleaned = read(CLEANER_FILE, &log_dir.cleaned, "compacted logs are cleaned from their beginning")?;
    let recovery_point_is_known = recovery_points.is_some();
    let (recovery_points, vouched) = recovery_points.unwrap_or_default();
    let high_watermarks = high_watermarks.unwrap_or_default().0;
    let log_starts = log_starts.unwrap_or_default().0;
    log_dir.cleaned.set(cleaned.unwrap_or_default().0);
    let entries = disk.read_dir(path).map_err(|error| StorageError::io("list", path, error))?;
    let clean_file = path.join(CLEAN_SHUTDOWN_FILE);
    let clean = disk.exists(&clean_file);
    if clean {
        found.clean_epochs.extend(clean_epoch(disk, &clean_file));
        disk.remove_file(&clean_file).map_err(|error| StorageError::io("remove", &clean_file, error))?;
    }
    // The directories found here may have names that an earlier life never synced, because no record was in them yet.
    disk.sync_dir(path).map_err(|error| StorageError::io("sync", path, error))?;
    let clean = clean && recovery_point_is_known;
    let mut jobs = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.is_dir) {
        let name = entry.name.to_string_lossy();
        if is_deleted_name(&name) {
            found.removals.push(Removal { path: entry.path, remove_at_ms: now_ms });
            continue;
        }
        let Some(partition) = parse_partition(&name) else {
            tracing::warn!(dir = %entry.path.display(), "not the directory of a partition; leaving it alone");
            continue;
        };
        let topic_config = config.topic_configs.get(&partition.topic).unwrap_or(&config.default_config);
        let options = LoadOptions {
            clean,
            recovery_point: recovery_points.get(&partition).copied().unwrap_or(0),
            recovery_point_is_exact: clean && vouched && recovery_points.contains_key(&partition),
            log_start: log_starts.get(&partition).copied().unwrap_or(0),
            was_cleaned: log_dir.cleaned_to(&partition).is_some(),
            now_ms,
        };
        jobs.push(Job {
            dir: Arc::new(PartitionDir::new(log_dir.clone(), entry.path)),
            config: topic_config.clone(),
            options,
            high_watermark: high_watermarks.get(&partition).copied(),
            log_start: log_starts.get(&partition).copied(),
            partition,
        });
    }
    let has_nothing = is_new && jobs.is_empty();
    found.unclean |= !clean && !has_nothing;
    found.jobs.extend(jobs);
    log_dir.recovery_points.set(recovery_points);
    log_dir.high_watermarks.set(high_watermarks);
    log_dir.log_starts.set(log_starts);
    Ok(())
}

/// The broker's epoch that the mark of a clean shutdown names; nothing in those of brokers before 3.7, which are empty.
fn clean_epoch(disk: Disk, path: &Path) -> Option<i64> {
    const MARK_BYTES_MAX: u64 = 4096;
    let text = String::from_utf8(disk.read(path, MARK_BYTES_MAX).ok()?).ok()?;
    let (_, rest) = text.split_once("\"brokerEpoch\":")?;
    let number: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    number.parse().ok().filter(|epoch| *epoch >= 0)
}

/// What an offset checkpoint says, and whether a checksum vouches for it. `None` where the file is damaged, which is told of: what is done `instead` of guessing loses no
/// record.
fn read_checkpoint(disk: Disk, path: &Path, instead: &str) -> Result<Option<(BTreeMap<TopicPartition, i64>, bool)>> {
    match checkpoints::read_offsets_vouched(disk, path) {
        Ok(read) => Ok(Some(read)),
        Err(error @ StorageError::Checkpoint { .. }) => {
            tracing::error!(%error, "a checkpoint is damaged: {instead}");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn load_all(
    jobs: Vec<Job>,
    threads: usize,
    cache: &Arc<FileCache>,
    clock: Clock,
    progress: &Arc<RecoveryProgress>,
) -> Result<Vec<Loaded>> {
    let threads = threads.min(jobs.len());
    let queue = Arc::new(Mutex::new(VecDeque::from(jobs)));
    let mut workers = Vec::new();
    for number in 0..threads {
        let (queue, cache, progress) = (queue.clone(), cache.clone(), progress.clone());
        let worker = runtime::thread(format!("log-recovery-{number}"), move || {
            let mut loaded = Vec::new();
            loop {
                let Some(job) = queue.lock().pop_front() else { return loaded };
                loaded.push(load_one(job, &cache, clock, &progress));
                progress.loaded_one();
            }
        });
        workers.push(worker.map_err(|error| StorageError::io("start a thread to load", Path::new("logs"), error))?);
    }
    let mut loaded = Vec::new();
    for worker in workers {
        match worker.join() {
            Ok(some) => loaded.extend(some),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    loaded.sort_by(|a, b| a.job.partition.cmp(&b.job.partition));
    Ok(loaded)
}

fn load_one(job: Job, cache: &Arc<FileCache>, clock: Clock, progress: &RecoveryProgress) -> Loaded {
    let loaded = recovery::load(&job.partition, &job.dir, cache, &job.config, job.options, progress);
    let result = loaded.map(|(loaded, recovery)| {
        let (partition, dir) = (job.partition.clone(), job.dir.clone());
        let log = Log::assemble(partition, dir, cache.clone(), clock, job.config.clone(), loaded);
        log.set_high_watermark(Offset(job.high_watermark.unwrap_or(0)));
        (log, recovery)
    });
    Loaded { job, result }
}

impl LogManager {
    /// Takes in a log that was loaded, or notes that it is offline.
    fn take(&self, loaded: Loaded, report: &mut RecoveryReport) {
        let Loaded { job, result } = loaded;
        let existing = self.get(&job.partition);
        let result = match (result, existing) {
            (Ok(_), Some(first)) => Err(StorageError::Duplicate {
                partition: job.partition.clone(),
                first: first.dir().path(),
                second: job.dir.path(),
            }),
            (result, _) => result,
        };
        match result {
            Ok((log, recovery)) => {
                if recovery != LogRecovery::default() {
                    report.recovered.push((job.partition.clone(), recovery));
                }
                self.adopt(&log);
                self.serve(&log);
            }
            Err(error) => {
                tracing::error!(partition = %job.partition, %error, "a log is offline");
                report.offline.push((job.partition.clone(), error.clone()));
                if self.get(&job.partition).is_some() {
                    return;
                }
                let offline = OfflineLog {
                    error,
                    dir: job.dir.path(),
                    recovery_point: job.options.recovery_point,
                    high_watermark: job.high_watermark,
                    log_start: job.log_start,
                };
                self.offline.write().insert(job.partition, offline);
            }
        }
    }
}
