//! Reads: from an offset to a range of a file, without copying a record and without the append lock.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use protocol::types::Offset;
use runtime::File;

use crate::error::{ReadError, Result, StorageError};
use crate::log::Log;
use crate::reach::Reach;
use crate::segment::{Boundary, Damage, End, Located, Segment};

/// Up to where a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadLimit {
    /// Everything: followers, and this broker's own coordinators.
    LogEnd,
    /// Records below the high watermark: consumers.
    HighWatermark(Offset),
    /// Records below the last stable offset: consumers with `read_committed`.
    LastStableOffset(Offset),
}

/// A range of a file that holds whole batches: what `sendfile` sends. The file stays open, and its bytes stay readable, while this lives;
/// only a cut of the log (a follower that diverged) can shorten it.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The segment's file.
    pub file: File,
    /// First byte.
    pub pos: u64,
    /// Number of bytes, above 0.
    pub len: usize,
}

impl FileSlice {
    /// The bytes, copied into memory: for TLS, conversion, and our own reading.
    ///
    /// # Errors
    /// What the file system says; `UnexpectedEof` where the log was cut meanwhile.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.pos)?;
        Ok(Bytes::from(bytes))
    }
}

/// What a read found.
#[derive(Debug, Clone)]
pub struct ReadInfo {
    /// The batches; `None` where the reader is at the end of what it may see.
    pub slice: Option<FileSlice>,
    /// Offset of the first record of the first batch, which may lie before the offset asked for. At the end, the offset asked for.
    pub first_batch_offset: Offset,
    /// First offset kept.
    pub log_start_offset: Offset,
    /// End of the log when the read began.
    pub log_end_offset: Offset,
}

/// What one segment gives.
struct Found {
    first_batch_offset: i64,
    slice: Option<FileSlice>,
}

impl Log {
    /// Finds the batches from the one that holds `offset` on: whole ones, of one segment, at most `max_bytes` in all. With `min_one` the first
    /// batch comes even where it is longer than that. Blocks on the disk. What a start found is checked before it is given out for the first time: a read ends before a
    /// damaged batch, and fails at one.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] outside the log, [`ReadError::Storage`].
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        limit: ReadLimit,
        min_one: bool,
    ) -> Result<ReadInfo, ReadError> {
        self.read_within(Reach::Disk, offset, max_bytes, limit, min_one)
    }

    /// As [`Log::read`], without waiting for the disk. `None` where that must be waited for, or bytes must be checked first: [`Log::read`] does both, where a call may
    /// block.
    ///
    /// # Errors
    /// As [`Log::read`].
    pub fn read_in_memory(
        &self,
        offset: Offset,
        max_bytes: usize,
        limit: ReadLimit,
        min_one: bool,
    ) -> Result<Option<ReadInfo>, ReadError> {
        match self.read_within(Reach::Memory, offset, max_bytes, limit, min_one) {
            Ok(info) => Ok(Some(info)),
            Err(ReadError::Storage(error)) if error.needs_disk() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read_within(
        &self,
        reach: Reach,
        offset: Offset,
        max_bytes: usize,
        limit: ReadLimit,
        min_one: bool,
    ) -> Result<ReadInfo, ReadError> {
        // A segment that retention takes away under a reader's feet is looked for once more: by then the log start says so.
        const ATTEMPTS: usize = 2;
        for attempt in 1..=ATTEMPTS {
            self.check_open()?;
            let log_end = self.log_end_offset();
            let log_start = self.log_start_offset();
            if offset < log_start || offset > log_end {
                return Err(self.out_of_range(offset));
            }
            // A segment shows an append a moment before the log end does; a follower that saw it would next ask beyond the end.
            let visible = match limit {
                ReadLimit::LogEnd => log_end.0,
                ReadLimit::HighWatermark(bound) | ReadLimit::LastStableOffset(bound) => bound.0.min(log_end.0),
            };
            let mut info = ReadInfo {
                slice: None,
                first_batch_offset: offset,
                log_start_offset: log_start,
                log_end_offset: log_end,
            };
            if offset.0 >= visible || offset == log_end {
                return Ok(info);
            }
            let mut gone = false;
            for segment in self.segments_from(offset.0) {
                match self.read_segment(reach, &segment, offset.0, max_bytes, visible, min_one) {
                    Ok(Some(found)) => {
                        info.first_batch_offset = Offset(found.first_batch_offset);
                        info.slice = found.slice;
                        return Ok(info);
                    }
                    Ok(None) => {}
                    Err(_) if segment.is_deleted() && attempt < ATTEMPTS => {
                        gone = true;
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if !gone {
                return Ok(info);
            }
        }
        Err(self.out_of_range(offset))
    }

    fn out_of_range(&self, offset: Offset) -> ReadError {
        ReadError::OffsetOutOfRange {
            partition: self.partition().clone(),
            offset,
            log_start: self.log_start_offset(),
            log_end: self.log_end_offset(),
        }
    }

    /// What may be read of a segment from `offset` on; `None` where it holds nothing from there on.
    fn read_segment(
        &self,
        reach: Reach,
        segment: &Arc<Segment>,
        offset: i64,
        max_bytes: usize,
        visible: i64,
        min_one: bool,
    ) -> Result<Option<Found>> {
        let cuts = self.cuts();
        let end = segment.end();
        if end.size == 0 {
            return Ok(None);
        }
        let located = match self.locate(reach, segment, offset, &end, cuts) {
            Err(StorageError::Damaged { path, position, why }) if path == segment.log_file().path() => {
                let damage = Damage { position, offset: None, why };
                return Err(self.tell_damage(segment, offset, damage));
            }
            located => located?,
        };
        let Some(located) = located else { return Ok(None) };
        let first = &located.entry;
        let bound = if visible >= end.next_offset {
            Boundary { position: end.size, next_offset: Some(end.next_offset) }
        } else if visible <= segment.base_offset() {
            Boundary { position: 0, next_offset: None }
        } else {
            match self.locate(reach, segment, visible, &end, cuts) {
                Ok(Some(Located { entry, .. })) => {
                    Boundary { position: entry.position, next_offset: Some(entry.base_offset) }
                }
                Ok(None) => Boundary { position: end.size, next_offset: None },
                // What lies before the damage lies before what is not to be seen, too.
                Err(StorageError::Damaged { position, .. }) => Boundary { position, next_offset: None },
                Err(error) => return Err(error),
            }
        };
        if bound.position <= first.position {
            return Ok(Some(Found { first_batch_offset: first.base_offset, slice: None }));
        }
        let limit = first.position.saturating_add(max_bytes as u64).min(bound.position);
        let mut cut = if limit < first.end() {
            let whole = Boundary { position: first.end(), next_offset: Some(first.next_offset()) };
            if min_one { whole } else { Boundary { position: first.position, next_offset: None } }
        } else if limit == bound.position {
            bound
        } else {
            segment.boundary_before(reach, first.position, limit, &end)?
        };
        if !segment.is_verified(first.position, cut.position) {
            if reach == Reach::Memory {
                let later = std::io::ErrorKind::WouldBlock.into();
                return Err(StorageError::io("check", &segment.log_file().path(), later));
            }
            let epochs = self.epochs.read().known();
            let verified = segment.verify(&located, cut.position, &end, &epochs)?;
            if let Some(damage) = verified.damage {
                let error = self.tell_damage(segment, offset, damage);
                if verified.to <= first.position {
                    return Err(error);
                }
            }
            cut = Boundary { position: verified.to, next_offset: verified.next_offset };
        } else if !segment.is_verified(cut.position, cut.position + 1) {
            // What the next batch says of itself is not believed yet.
            cut.next_offset = None;
        }
        let len = (cut.position - first.position) as usize;
        if len == 0 {
            return Ok(Some(Found { first_batch_offset: first.base_offset, slice: None }));
        }
        if let Some(next) = cut.next_offset {
            self.bookmarks.lock().put(next, segment, cut.position, cuts);
        }
        let file = segment.log_file().open_within(reach);
        let file = file.map_err(|error| StorageError::io("open segment", &segment.log_file().path(), error))?;
        let slice = FileSlice { file, pos: first.position, len };
        Ok(Some(Found { first_batch_offset: first.base_offset, slice: Some(slice) }))
    }

    /// The entry that holds `offset`: where the last read ended, or by the index.
    fn locate(
        &self,
        reach: Reach,
        segment: &Arc<Segment>,
        offset: i64,
        end: &End,
        cuts: u64,
    ) -> Result<Option<Located>> {
        let marked = self.bookmarks.lock().get(offset, segment, cuts);
        if let Some(position) = marked
            && let Some(located) = segment.entry_at(reach, position, offset, end)?
        {
            return Ok(Some(located));
        }
        segment.locate_within(reach, offset, end)
    }

    /// Says once that a batch is damaged, and gives the error for whoever asks for it.
    fn tell_damage(&self, segment: &Segment, asked: i64, damage: Damage) -> StorageError {
        let path = segment.log_file().path();
        let Damage { position, offset, why } = damage;
        if !segment.has_told(position) {
            tracing::error!(
                partition = %self.partition(), file = %path.display(), position, offset = offset.unwrap_or(asked), why,
                "a batch on disk is damaged: it is not served, readers get CORRUPT_MESSAGE at it"
            );
        }
        StorageError::Damaged { path, position, why }
    }
}
