//! The checkpoints of all logs: what is written every few seconds, so that the next start need not guess.

use super::*;

impl LogManager {
    /// Writes recovery points, high watermarks and log starts of all logs, where they changed.
    ///
    /// # Errors
    /// The first failure; the other directories were still written.
    pub fn write_checkpoints(&self) -> Result<()> {
        let mut first_error = None;
        for dir in &self.dirs {
            if let Err(error) = self.write_checkpoints_of(dir) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// Writes the high watermarks alone; they change more often than the rest.
    ///
    /// # Errors
    /// The first failure; the other directories were still written.
    pub fn write_high_watermarks(&self) -> Result<()> {
        let mut first_error = None;
        for dir in &self.dirs {
            if let Err(error) = self.write_high_watermarks_of(dir) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    pub(super) fn write_checkpoints_of(&self, dir: &ManagedDir) -> Result<()> {
        dir.log_dir.check()?;
        let logs = self.logs_of(dir);
        let carried = self.offline_of(dir);
        dir.log_dir.recovery_points.replace(&dir.log_dir, || {
            let served = logs.iter().map(|log| (log.partition().clone(), log.durable_offset().0));
            let offline = carried.iter().map(|(partition, log)| (partition.clone(), log.recovery_point));
            served.chain(offline).collect()
        })?;
        dir.log_dir.log_starts.replace(&dir.log_dir, || {
            let moved = logs.iter().filter(|log| {
                log.segments().first().is_some_and(|first| first.base_offset() < log.log_start_offset().0)
            });
            let served = moved.map(|log| (log.partition().clone(), log.log_start_offset().0));
            let offline = carried.iter().filter_map(|(partition, log)| Some((partition.clone(), log.log_start?)));
            served.chain(offline).collect()
        })?;
        self.write_high_watermarks_of(dir)
    }

    pub(super) fn write_high_watermarks_of(&self, dir: &ManagedDir) -> Result<()> {
        dir.log_dir.check()?;
        let (logs, carried) = (self.logs_of(dir), self.offline_of(dir));
        dir.log_dir.high_watermarks.replace(&dir.log_dir, || {
            let served = logs.iter().map(|log| (log.partition().clone(), log.high_watermark().0));
            let offline = carried.into_iter().filter_map(|(partition, log)| Some((partition, log.high_watermark?)));
            served.chain(offline).collect()
        })
    }

    pub(super) fn logs_of(&self, dir: &ManagedDir) -> Vec<Arc<Log>> {
        self.all().into_iter().filter(|log| Arc::ptr_eq(log.dir().log_dir(), &dir.log_dir)).collect()
    }

    pub(super) fn offline_of(&self, dir: &ManagedDir) -> BTreeMap<TopicPartition, OfflineLog> {
        self.offline
            .read()
            .iter()
            .filter(|(_, log)| log.dir.parent() == Some(dir.log_dir.path()))
            .map(|(partition, log)| (partition.clone(), log.clone()))
            .collect()
    }
}
