//! What must be looked at inside batches before they are stored (Kafka `LogValidator` and `ProduceRequest.validateRecords`).
//!
//! A batch v2 for an ordinary topic is stored as it came. It is opened only where a rule needs it: message sets of old producers become batches v2, a compacted topic
//! asks for keys, and a topic with a codec of its own gets its batches in that codec.

use bytes::Bytes;
use protocol::error::ErrorCode;
use protocol::records::batch::{BatchIter, MAGIC_V2, peek_magic, peek_size, verify_crc};
use protocol::records::message_set::up_convert;
use protocol::records::{BatchBuilder, BatchOptions, Codec, MAX_DECOMPRESSED_BYTES, RecordBatch, RecordsError};

use crate::config::TopicConfig;

/// First version whose requests carry exactly one batch v2 per partition (KIP-98).
const ONE_BATCH_FROM: i16 = 3;
/// First version that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;
/// Records named in one refusal; more are counted only by their absence.
const RECORD_ERRORS_MAX: usize = 100;

/// Why batches may not be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub message: String,
    /// The records at fault, by their index in the batch.
    pub records: Vec<(i32, String)>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into(), records: Vec::new() }
    }
}

impl From<RecordsError> for Refusal {
    fn from(error: RecordsError) -> Refusal {
        Refusal::new(error.error_code(), error.to_string())
    }
}

/// What is to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prepared {
    /// The bytes as they were sent.
    AsSent,
    /// These batches instead.
    Rewritten(Vec<u8>),
    /// Nothing: an old producer sent an empty set.
    Nothing,
}

/// Looks at what a producer sent in a request of this version.
///
/// # Errors
/// What the producer is told.
pub fn prepare(records: &Bytes, version: i16, config: &TopicConfig) -> Result<Prepared, Refusal> {
    if version >= ONE_BATCH_FROM {
        check_single_batch(records, version)?;
    }
    let rewritten = match peek_magic(records) {
        None if records.is_empty() => return Ok(Prepared::Nothing),
        Some(0 | 1) => Some(Bytes::from(up_convert(records.clone(), MAX_DECOMPRESSED_BYTES)?)),
        Some(MAGIC_V2) => None,
        Some(magic) => return Err(RecordsError::UnsupportedMagic(magic).into()),
        None => {
            return Err(Refusal::new(ErrorCode::CORRUPT_MESSAGE, "the record set is shorter than a record's header"));
        }
    };
    if rewritten.as_ref().is_some_and(Bytes::is_empty) {
        return Ok(Prepared::Nothing);
    }
    let batches = rewritten.as_ref().unwrap_or(records);
    let recoded = look_inside(batches, version, config)?;
    Ok(match (recoded, rewritten) {
        (Some(recoded), _) => Prepared::Rewritten(recoded),
        (None, Some(rewritten)) => Prepared::Rewritten(rewritten.into()),
        (None, None) => Prepared::AsSent,
    })
}

fn check_single_batch(records: &Bytes, version: i16) -> Result<(), Refusal> {
    let refuse = |why: &str| {
        let text = format!("Produce requests with version {version} {why}");
        Err(Refusal::new(ErrorCode::INVALID_RECORD, text))
    };
    match peek_magic(records) {
        None => return refuse("must have at least one record batch per partition"),
        Some(MAGIC_V2) => {}
        Some(_) => return refuse("are only allowed to contain record batches with magic version 2"),
    }
    match peek_size(records)? {
        Some(size) if size < records.len() => {
            refuse("are only allowed to contain exactly one record batch per partition")
        }
        _ => Ok(()),
    }
}

/// Opens the batches where the topic asks for it. Gives other batches to store, if any.
fn look_inside(batches: &Bytes, version: i16, config: &TopicConfig) -> Result<Option<Vec<u8>>, Refusal> {
    let mut recoded: Option<Vec<u8>> = None;
    let mut done = 0;
    for batch in BatchIter::new(batches.clone()) {
        let batch = batch?;
        let codec = batch.header.codec();
        if codec == Codec::Zstd && version < ZSTD_FROM {
            let text = format!("Produce requests with version {version} are not allowed to use ZStandard compression");
            return Err(Refusal::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE, text));
        }
        if batch.header.is_transactional() {
            return Err(Refusal::new(ErrorCode::INVALID_TXN_STATE, "transactions are not served yet"));
        }
        let wanted = config.compression.unwrap_or(codec);
        if config.compact || wanted != codec {
            verify_crc(&batch.bytes)?;
        }
        if config.compact {
            check_keys(&batch)?;
        }
        if wanted != codec {
            let out = recoded.get_or_insert_with(|| batches[..done].to_vec());
            out.extend_from_slice(&recode(&batch, wanted)?);
        } else if let Some(out) = &mut recoded {
            out.extend_from_slice(&batch.bytes);
        }
        done += batch.bytes.len();
    }
    Ok(recoded)
}

fn check_keys(batch: &RecordBatch) -> Result<(), Refusal> {
    let mut records = batch.records(MAX_DECOMPRESSED_BYTES)?;
    let mut keyless = Vec::new();
    let mut index = 0;
    while let Some(record) = records.next_ref() {
        if record?.key.is_none() && keyless.len() < RECORD_ERRORS_MAX {
            keyless.push((index, "Compacted topic cannot accept message without key".to_owned()));
        }
        index += 1;
    }
    match keyless.is_empty() {
        true => Ok(()),
        false => Err(Refusal {
            code: ErrorCode::INVALID_RECORD,
            message: "One or more records have been rejected: Compacted topic cannot accept message without key"
                .to_owned(),
            records: keyless,
        }),
    }
}

fn recode(batch: &RecordBatch, codec: Codec) -> Result<Vec<u8>, Refusal> {
    let options = BatchOptions { codec, ..BatchOptions::like(&batch.header) };
    let mut builder = BatchBuilder::new(options);
    let mut records = batch.records(MAX_DECOMPRESSED_BYTES)?;
    while let Some(record) = records.next_ref() {
        builder.append_record(&record?)?;
    }
    Ok(builder.build_vec()?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Settings;

    fn config(pairs: &[(&str, &str)]) -> TopicConfig {
        let overrides: BTreeMap<String, String> =
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        TopicConfig::new(&overrides, &Settings::default())
    }

    fn batch(codec: Codec, keys: &[Option<&[u8]>]) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        for key in keys {
            builder.append(1_000, *key, Some(b"value"), None).unwrap();
        }
        builder.build().unwrap()
    }

    fn refused(records: &Bytes, version: i16, config: &TopicConfig) -> ErrorCode {
        prepare(records, version, config).unwrap_err().code
    }

    #[test]
    fn an_ordinary_batch_is_stored_as_sent() {
        let plain = config(&[]);
        assert_eq!(prepare(&batch(Codec::Gzip, &[None]), 9, &plain), Ok(Prepared::AsSent));
        assert_eq!(prepare(&Bytes::new(), 2, &plain), Ok(Prepared::Nothing));
    }

    #[test]
    fn rules_of_versions_hold() {
        let plain = config(&[]);
        assert_eq!(refused(&Bytes::new(), 9, &plain), ErrorCode::INVALID_RECORD);
        let two: Bytes = [batch(Codec::None, &[None]), batch(Codec::None, &[None])].concat().into();
        assert_eq!(refused(&two, 9, &plain), ErrorCode::INVALID_RECORD);
        assert_eq!(prepare(&two, 2, &plain), Ok(Prepared::AsSent));
        assert_eq!(refused(&batch(Codec::Zstd, &[None]), 6, &plain), ErrorCode::UNSUPPORTED_COMPRESSION_TYPE);
    }

    #[test]
    fn a_compacted_topic_names_the_records_without_key() {
        let compacted = config(&[("cleanup.policy", "compact")]);
        let refusal = prepare(&batch(Codec::None, &[Some(b"k"), None]), 9, &compacted).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::INVALID_RECORD);
        assert_eq!(refusal.records.len(), 1);
        assert_eq!(refusal.records[0].0, 1);
    }

    #[test]
    fn a_topic_with_a_codec_gets_its_batches_in_it() {
        let gzipped = config(&[("compression.type", "gzip")]);
        assert_eq!(prepare(&batch(Codec::Gzip, &[None]), 9, &gzipped), Ok(Prepared::AsSent));
        let Ok(Prepared::Rewritten(bytes)) = prepare(&batch(Codec::None, &[None, Some(b"k")]), 9, &gzipped) else {
            panic!("the batch is packed anew")
        };
        let packed = RecordBatch::parse(&Bytes::from(bytes)).unwrap();
        assert_eq!(packed.header.codec(), Codec::Gzip);
        assert_eq!(packed.records(1 << 20).unwrap().count(), 2);
    }
}
