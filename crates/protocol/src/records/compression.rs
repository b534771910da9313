//! The codecs of Kafka's record formats, each in the framing Kafka gives it.
//!
//! Unpacking never believes a size the data claims about itself and never holds more than the limit its caller names.
//!
//! - gzip: members one after the other, as Java's `GZIPInputStream` reads them.
//! - snappy: the stream framing of xerial's snappy-java (a 16-byte header, then length-prefixed raw blocks). Raw snappy without framing, which some
//!   clients send, is read too.
//! - lz4: LZ4 frames with independent 64 KiB blocks. In messages v0 the header checksum covers the frame's magic number too, which is wrong but is what
//!   every client of that age does (KAFKA-3160): we write it so and do not check it there.
//! - zstd: plain frames, in batches v2 only.

use std::fmt;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

use super::RecordsError;

/// Compression of the records inside a batch or wrapper message: the lowest three bits of its attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Codec {
    /// Records as they are.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// snappy in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard, since Kafka 2.1 (KIP-110).
    Zstd,
}

/// Attribute bits that hold the codec.
const CODEC_MASK: u8 = 0x07;

/// First bytes of xerial's snappy framing; version and compatible version, two i32, follow.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_LEN: usize = 16;
/// Uncompressed bytes per block that Kafka's clients write.
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// Snappy's densest element turns 3 bytes into 64, so a block that claims more than this many times its own length lies.
const SNAPPY_MAX_RATIO: usize = 22;

const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// zstd's own default: frames that need a larger window are refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// First guess of how much larger data gets when unpacked; only capacity, never a promise.
const EXPECTED_RATIO: usize = 4;
const FIRST_CAPACITY_MAX: usize = 1024 * 1024;

impl Codec {
    /// Every codec, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// Reads the codec out of a batch's or message's attributes.
    ///
    /// # Errors
    /// [`RecordsError::UnknownCodec`] for ids 5 to 7.
    pub fn from_attributes(attributes: i16) -> Result<Codec, RecordsError> {
        let id = (attributes as u8) & CODEC_MASK;
        Codec::ALL.get(usize::from(id)).copied().ok_or(RecordsError::UnknownCodec(id))
    }

    /// The id that attributes hold.
    #[must_use]
    pub fn id(self) -> u8 {
        self as u8
    }

    /// Kafka's name, as `compression.type` spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// Reads a name as `compression.type` spells it; `uncompressed` is what topics call `none`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Appends `src` packed with `codec` to `out`, for a batch or message of format `magic`.
///
/// `level` is the codec's own scale (gzip 0 to 9, zstd up to 22) and is brought into range; `None` is Kafka's default. Snappy and our LZ4 have one level.
///
/// # Errors
/// [`RecordsError::Oversized`] when the codec's library refuses, which for memory to memory means a size it cannot hold.
pub fn compress(
    codec: Codec,
    magic: i8,
    level: Option<i32>,
    src: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    let result = match codec {
        Codec::None => {
            out.extend_from_slice(src);
            Ok(())
        }
        Codec::Gzip => compress_gzip(level, src, out),
        Codec::Snappy => compress_snappy(src, out),
        Codec::Lz4 => compress_lz4(magic, src, out),
        Codec::Zstd => compress_zstd(level, src, out),
    };
    result.map_err(|_| RecordsError::Oversized("the data to compress"))
}

/// Unpacks `src`, which lay in a batch or message of format `magic`, to at most `limit` bytes.
///
/// # Errors
/// [`RecordsError::TooLarge`] beyond `limit`, [`RecordsError::Decompress`] for anything the codec cannot read.
pub fn decompress(codec: Codec, magic: i8, src: &[u8], limit: usize) -> Result<Vec<u8>, RecordsError> {
    let unpacked = match codec {
        Codec::None if src.len() > limit => Err(Failure::TooLarge),
        Codec::None => Ok(src.to_vec()),
        Codec::Gzip => read_limited(MultiGzDecoder::new(src), src.len(), limit),
        Codec::Snappy => decompress_snappy(src, limit),
        Codec::Lz4 => decompress_lz4(magic, src, limit),
        Codec::Zstd => decompress_zstd(src, limit),
    };
    unpacked.map_err(|failure| match failure {
        Failure::TooLarge => RecordsError::TooLarge { codec, limit },
        Failure::Broken(cause) => RecordsError::Decompress { codec, cause },
    })
}

/// Why unpacking stopped, before the codec's name is put to it.
enum Failure {
    TooLarge,
    Broken(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Broken(error.to_string())
    }
}

fn read_limited(reader: impl Read, packed_len: usize, limit: usize) -> Result<Vec<u8>, Failure> {
    let guess = packed_len.saturating_mul(EXPECTED_RATIO).min(FIRST_CAPACITY_MAX).min(limit);
    let mut out = Vec::with_capacity(guess);
    // One byte more than allowed tells "exactly the limit" from "more".
    reader.take(limit as u64 + 1).read_to_end(&mut out)?;
    if out.len() > limit { Err(Failure::TooLarge) } else { Ok(out) }
}

fn compress_gzip(level: Option<i32>, src: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let level = match level {
        None | Some(..0) => Compression::default(),
        Some(level) => Compression::new(level.min(9) as u32),
    };
    let mut encoder = GzEncoder::new(out, level);
    encoder.write_all(src)?;
    encoder.finish().map(drop)
}

fn compress_zstd(level: Option<i32>, src: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let range = zstd::compression_level_range();
    let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL).clamp(*range.start(), *range.end());
    let packed = zstd::bulk::compress(src, level)?;
    out.extend_from_slice(&packed);
    Ok(())
}

fn decompress_zstd(src: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(src)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_limited(decoder, src.len(), limit)
}

fn compress_snappy(src: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in src.chunks(XERIAL_BLOCK_BYTES) {
        let length_at = out.len();
        let block_at = length_at + 4;
        out.resize(block_at + snap::raw::max_compress_len(block.len()), 0);
        let written = encoder.compress(block, &mut out[block_at..]).map_err(io::Error::other)?;
        out.truncate(block_at + written);
        out[length_at..block_at].copy_from_slice(&(written as i32).to_be_bytes());
    }
    Ok(())
}

fn decompress_snappy(src: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    let mut decoder = snap::raw::Decoder::new();
    if !src.starts_with(&XERIAL_MAGIC) {
        decompress_snappy_block(&mut decoder, src, limit, &mut out)?;
        return Ok(out);
    }
    let mut rest = src;
    while !rest.is_empty() {
        // Streams laid end to end repeat the header; snappy-java skips it, so we do.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER_LEN..).ok_or_else(|| broken("the stream header is cut short"))?;
            continue;
        }
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| broken("a block length is cut short"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let block = after.get(..length).ok_or_else(|| broken("a block is longer than the data"))?;
        decompress_snappy_block(&mut decoder, block, limit, &mut out)?;
        rest = &after[length..];
    }
    Ok(out)
}

fn decompress_snappy_block(
    decoder: &mut snap::raw::Decoder,
    block: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let claimed = snap::raw::decompress_len(block).map_err(|error| Failure::Broken(error.to_string()))?;
    if claimed > limit - out.len() {
        return Err(Failure::TooLarge);
    }
    if claimed > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(broken("a block claims more than snappy can pack into it"));
    }
    let start = out.len();
    out.resize(start + claimed, 0);
    let written = decoder.decompress(block, &mut out[start..]).map_err(|error| Failure::Broken(error.to_string()))?;
    out.truncate(start + written);
    Ok(())
}

fn broken(cause: &str) -> Failure {
    Failure::Broken(cause.to_owned())
}

fn compress_lz4(magic: i8, src: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, &mut *out);
    encoder.write_all(src)?;
    encoder.finish().map_err(io::Error::other)?;
    if magic == 0 {
        let header = &mut out[start..];
        let checksum_at = LZ4_MAGIC.len() + 2;
        header[checksum_at] = lz4_header_checksum(&header[..checksum_at]);
    }
    Ok(())
}

/// Reads one LZ4 frame as Kafka's `KafkaLZ4BlockInputStream` does: independent blocks only, block checksums verified, what follows the frame ignored.
fn decompress_lz4(magic: i8, src: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
    const CONTENT_CHECKSUM: u8 = 0x04;
    const CONTENT_SIZE: u8 = 0x08;
    const BLOCK_CHECKSUM: u8 = 0x10;
    const INDEPENDENT_BLOCKS: u8 = 0x20;
    const VERSION: u8 = 0xc0;
    const RESERVED: u8 = 0x03;
    /// In a block's length: the block lies there as it is.
    const STORED: u32 = 0x8000_0000;
    /// LZ4 turns one byte into at most 255, so no block deserves more room than that.
    const MAX_RATIO: usize = 255;

    let cut = || broken("the frame is cut short");
    let descriptor = src.strip_prefix(&LZ4_MAGIC).ok_or_else(|| broken("no LZ4 frame"))?;
    let [flags, block_descriptor, ..] = *descriptor else { return Err(cut()) };
    if flags & VERSION != 0x40 || flags & RESERVED != 0 {
        return Err(broken("unknown frame version or flags"));
    }
    if flags & INDEPENDENT_BLOCKS == 0 {
        return Err(broken("dependent blocks are not supported"));
    }
    let block_max = match block_descriptor {
        0x40 => 64 * 1024,
        0x50 => 256 * 1024,
        0x60 => 1024 * 1024,
        0x70 => 4 * 1024 * 1024,
        _ => return Err(broken("unknown block size")),
    };
    let descriptor_len = if flags & CONTENT_SIZE == 0 { 2 } else { 10 };
    let (descriptor, rest) = descriptor.split_at_checked(descriptor_len).ok_or_else(cut)?;
    let (checksum, mut rest) = rest.split_first().ok_or_else(cut)?;
    if magic != 0 && *checksum != lz4_header_checksum(descriptor) {
        return Err(broken("wrong header checksum"));
    }

    let mut out = Vec::new();
    loop {
        let length = take_u32_le(&mut rest).ok_or_else(cut)?;
        if length == 0 {
            break;
        }
        let block_len = (length & !STORED) as usize;
        if block_len > block_max {
            return Err(broken("a block is longer than the frame allows"));
        }
        let (block, after) = rest.split_at_checked(block_len).ok_or_else(cut)?;
        rest = after;
        if flags & BLOCK_CHECKSUM != 0 && take_u32_le(&mut rest).ok_or_else(cut)? != xxhash32(block) {
            return Err(broken("wrong block checksum"));
        }
        let start = out.len();
        let wanted = if length & STORED != 0 { block_len } else { block_max.min(block_len * MAX_RATIO) };
        let room = wanted.min(limit - start);
        if length & STORED != 0 {
            if room < block_len {
                return Err(Failure::TooLarge);
            }
            out.extend_from_slice(block);
            continue;
        }
        out.resize(start + room, 0);
        let written = match lz4_flex::block::decompress_into(block, &mut out[start..]) {
            Ok(written) => written,
            Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if room < wanted => {
                return Err(Failure::TooLarge);
            }
            Err(error) => return Err(Failure::Broken(error.to_string())),
        };
        out.truncate(start + written);
    }
    // As in Kafka the content checksum must be there but is not verified: the batch has its own CRC.
    if flags & CONTENT_CHECKSUM != 0 {
        take_u32_le(&mut rest).ok_or_else(cut)?;
    }
    Ok(out)
}

fn take_u32_le(rest: &mut &[u8]) -> Option<u32> {
    let (word, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_le_bytes(*word))
}

/// Second byte of the xxHash-32 (seed 0) of a frame descriptor, as the LZ4 frame format defines its header checksum.
fn lz4_header_checksum(descriptor: &[u8]) -> u8 {
    (xxhash32(descriptor) >> 8) as u8
}

/// xxHash-32 with seed 0, the checksum of LZ4 frames.
fn xxhash32(input: &[u8]) -> u32 {
    const PRIME_1: u32 = 0x9E37_79B1;
    const PRIME_2: u32 = 0x85EB_CA77;
    const PRIME_3: u32 = 0xC2B2_AE3D;
    const PRIME_4: u32 = 0x27D4_EB2F;
    const PRIME_5: u32 = 0x1656_67B1;
    let (stripes, tail) = input.as_chunks::<16>();
    let mut hash = if stripes.is_empty() {
        PRIME_5
    } else {
        let mut lanes = [PRIME_1.wrapping_add(PRIME_2), PRIME_2, 0, 0u32.wrapping_sub(PRIME_1)];
        for stripe in stripes {
            let (words, _) = stripe.as_chunks::<4>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = lane.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIME_2));
                *lane = lane.rotate_left(13).wrapping_mul(PRIME_1);
            }
        }
        let [a, b, c, d] = lanes;
        a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12)).wrapping_add(d.rotate_left(18))
    };
    hash = hash.wrapping_add(input.len() as u32);
    let (words, bytes) = tail.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(PRIME_3));
        hash = hash.rotate_left(17).wrapping_mul(PRIME_4);
    }
    for byte in bytes {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(PRIME_5));
        hash = hash.rotate_left(11).wrapping_mul(PRIME_1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(PRIME_2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(PRIME_3);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests;
