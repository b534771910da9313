//! Record batches and message sets of every format and codec: errors or records, and never more unpacked bytes than the caller allows.

use bytes::Bytes;
use protocol::records::batch::{self, HEADER_LEN, HeadersRef};
use protocol::records::{
    AnyBatchIter, BatchBuilder, BatchIter, BatchOptions, Codec, Headers, MessageSetIter, down_convert, up_convert,
};
use protocol::types::Offset;

use crate::damage::{Campaign, Dice, damage};

/// What one batch may unpack to here.
const LIMIT: usize = 64 * 1024;

fn good_inputs() -> Vec<Vec<u8>> {
    let headers = Headers::encode([(&b"trace"[..], Some(&b"0123"[..])), (b"", None)]).unwrap();
    let mut inputs = Vec::new();
    for codec in Codec::ALL {
        let options = BatchOptions { codec, base_offset: Offset(100), ..BatchOptions::default() };
        let mut builder = BatchBuilder::new(options);
        for i in 0..8 {
            let value = "hello hadoop ".repeat(i);
            let headers = if i % 2 == 0 { headers.as_ref() } else { HeadersRef::EMPTY };
            builder.append(1_000 + i as i64, Some(b"key"), Some(value.as_bytes()), Some(headers)).unwrap();
        }
        let batch = builder.build_vec().unwrap();
        if codec != Codec::Zstd {
            for magic in [0, 1] {
                inputs.push(down_convert(Bytes::from(batch.clone()), magic, Offset(0), LIMIT).unwrap());
            }
        }
        inputs.push(batch.repeat(2));
        inputs.push(batch);
    }
    inputs
}

/// Half of the damage gets a right checksum, or it would never be looked at closer.
fn damaged(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = damage(input, dice);
    if dice.roll(2) == 0 && bytes.len() >= HEADER_LEN {
        match batch::peek_size(&bytes) {
            Ok(Some(size)) if batch::peek_magic(&bytes) == Some(2) && (HEADER_LEN..=bytes.len()).contains(&size) => {
                let crc = crc_fast::crc32_iscsi(&bytes[21..size]);
                bytes[17..21].copy_from_slice(&crc.to_be_bytes());
            }
            Ok(Some(size)) if (17..=bytes.len()).contains(&size) => {
                let crc = crc_fast::crc32_iso_hdlc(&bytes[16..size]);
                bytes[12..16].copy_from_slice(&crc.to_be_bytes());
            }
            _ => {}
        }
    }
    bytes
}

/// Reads `bytes` in all ways there are and counts the records that came out.
fn read_all(bytes: &Bytes) -> usize {
    let mut read = 0;
    let any = AnyBatchIter::new(bytes.clone(), LIMIT);
    for batch in BatchIter::new(bytes.clone()).chain(any).flatten() {
        assert!(batch.bytes.len() == batch.header.size());
        let _ = batch.verify_crc();
        let _ = batch.header.check_from_producer();
        let _ = batch.control_marker();
        let Ok(records) = batch.records(LIMIT) else { continue };
        assert!(batch.header.codec() == Codec::None || records.unpacked_len() <= LIMIT);
        for record in records.flatten() {
            assert!(record.offset <= batch.header.last_offset());
            assert_eq!(record.headers.iter().count(), record.headers.len());
            read += 1;
        }
    }
    let _ = MessageSetIter::new(bytes.clone()).count();
    for magic in [0, 1] {
        let _ = down_convert(bytes.clone(), magic, Offset(0), LIMIT);
    }
    if let Ok(converted) = up_convert(bytes.clone(), LIMIT) {
        let batches = BatchIter::new(Bytes::from(converted)).map(|batch| batch.expect("what we write we can read"));
        read += batches.map(|batch| batch.header.records_count as usize).sum::<usize>();
    }
    read
}

/// What reading takes beside the bytes themselves: each of the ways unpacks once, and codecs have their windows.
const MEMORY: usize = 16 * LIMIT + 4 * 1024 * 1024;

#[test]
fn damaged_records() {
    let campaign = Campaign::from_environment();
    let inputs = good_inputs();
    let good = campaign.run(
        |number, dice| damaged(&inputs[number % inputs.len()], dice),
        |length| MEMORY + length * 64,
        |_, bytes| read_all(&Bytes::copy_from_slice(bytes)) > 0,
    );
    // If next to nothing came through, the damage was too coarse to test the inner layers.
    assert!(good > campaign.inputs / 10, "something was read of {good}");
}

#[test]
fn random_bytes() {
    let campaign = Campaign::from_environment();
    campaign.run(
        |_, dice| {
            let mut bytes: Vec<u8> = (0..dice.roll(200)).map(|_| dice.roll(256) as u8).collect();
            if bytes.len() > 16 {
                let length = (bytes.len() - 12) as i32;
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
                bytes[16] = dice.roll(3) as u8;
            }
            bytes
        },
        |length| MEMORY + length * 64,
        |_, bytes| read_all(&Bytes::copy_from_slice(bytes)) > 0,
    );
}

/// 64 MiB of zeros in a batch of some kilobytes, and the same once more inside another.
#[test]
fn bombs_go_off_within_the_limit() {
    let zeros = vec![0; 64 * 1024 * 1024];
    for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::None) {
        let mut builder = BatchBuilder::new(BatchOptions { codec, ..BatchOptions::default() });
        builder.append(1_000, None, Some(&zeros), None).unwrap();
        let bomb = Bytes::from(builder.build_vec().unwrap());
        let mut read = 0;
        let used = allocation_counter::measure(|| read = read_all(&bomb));
        assert_eq!(read, 0, "{codec:?}");
        assert!(used.bytes_max <= (MEMORY + 2 * bomb.len()) as u64, "{codec:?} took {} bytes", used.bytes_max);
    }
}
