//! Record bytes that were damaged on purpose: 20,000 of them must give errors or records, never a panic, and never more bytes than the caller allows.

use bytes::Bytes;
use tidemill_protocol::records::batch::{self, HEADER_LEN, HeadersRef};
use tidemill_protocol::records::{
    AnyBatchIter, BatchBuilder, BatchIter, BatchOptions, Codec, Headers, MessageSetIter, down_convert, up_convert,
};
use tidemill_protocol::types::Offset;

const INPUTS: usize = 20_000;
/// What one batch may unpack to here.
const LIMIT: usize = 64 * 1024;

/// SplitMix64: the same damage in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides as u64) as usize
    }
}

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

fn damage(input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(bytes.len());
        match dice.roll(6) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => bytes[at] = [0x00, 0x7f, 0x80, 0xff][dice.roll(4)],
            2 => {
                let extreme = [i32::MAX, i32::MIN, -1, 0, 1 << 20][dice.roll(5)].to_be_bytes();
                for (byte, field) in bytes[at..].iter_mut().zip(extreme) {
                    *byte = field;
                }
            }
            3 => bytes.truncate(at.max(1)),
            4 => {
                let byte = bytes[at];
                bytes.insert(at, byte);
            }
            _ => bytes[at] = dice.roll(256) as u8,
        }
    }
    // Half of the damage gets a right checksum, or it would never be looked at closer.
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

#[test]
fn damaged_records_never_panic() {
    let inputs = good_inputs();
    let mut dice = Dice(2026);
    let mut read = 0;
    for round in 0..INPUTS {
        let input = &inputs[round % inputs.len()];
        read += read_all(&Bytes::from(damage(input, &mut dice)));
    }
    // If next to nothing came through, the damage was too coarse to test the inner layers.
    assert!(read > INPUTS, "{read} records were read");
}

#[test]
fn random_bytes_never_panic() {
    let mut dice = Dice(7);
    for _ in 0..2_000 {
        let mut bytes: Vec<u8> = (0..dice.roll(200)).map(|_| dice.roll(256) as u8).collect();
        if bytes.len() > 16 {
            let length = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = dice.roll(3) as u8;
        }
        read_all(&Bytes::from(bytes));
    }
}
