//! The last offset of each key in the dirty part of a log (Kafka `SkimpyOffsetMap`): 24 bytes a key, whatever the key's length, within a memory
//! fixed in advance.
//!
//! A key stands as a hash of 128 bits, and two keys of one hash would be one key: a record would be lost. So the hash is SipHash-2-4 under a
//! random key of this pass; nobody who writes records can aim at it, and by chance it takes 2^64 keys.

use runtime::Random;

/// Memory of one key: its hash and its offset.
pub const SLOT_BYTES: usize = 24;
/// Words of one slot.
const SLOT_WORDS: usize = 3;
/// Fewest slots of a map.
const SLOTS_MIN: usize = 64;

/// Last offsets of keys.
#[derive(Debug)]
pub struct OffsetMap {
    secret: [u64; 2],
    /// Hash, hash, and offset + 1, which is 0 in a free slot.
    words: Vec<u64>,
    used: usize,
    used_max: usize,
    latest_offset: i64,
}

/// There is no room for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl OffsetMap {
    /// A map for up to `keys` keys that takes at most `bytes_max` bytes, filled to at most `load_factor` of its slots.
    #[must_use]
    pub fn new(keys: u64, bytes_max: u64, load_factor: f64, random: Random) -> OffsetMap {
        let load_factor = if load_factor > 0.0 { load_factor.min(1.0) } else { 1.0 };
        let slots_max = usize::try_from(bytes_max).unwrap_or(usize::MAX) / SLOT_BYTES;
        let wanted = (keys as f64 / load_factor).ceil() as usize;
        let slots = wanted.saturating_add(1).min(slots_max).max(SLOTS_MIN);
        // One slot stays free, so that a search ends.
        let used_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        let secret = random.bytes::<16>();
        let (low, high) = secret.split_at(8);
        OffsetMap {
            secret: [word(low), word(high)],
            words: vec![0; slots * SLOT_WORDS],
            used: 0,
            used_max,
            latest_offset: -1,
        }
    }

    /// Notes that the latest record of `key` so far is at `offset`.
    ///
    /// # Errors
    /// [`Full`] where the key is new and there is no room; the map is as it was.
    pub fn put(&mut self, key: &[u8], offset: i64) -> Result<(), Full> {
        let hash = siphash128(self.secret, key);
        let at = self.slot_of(hash);
        if self.words[at + 2] == 0 {
            if self.used >= self.used_max {
                return Err(Full);
            }
            self.used += 1;
            self.words[at] = hash[0];
            self.words[at + 1] = hash[1];
        }
        self.words[at + 2] = (offset + 1) as u64;
        self.advance_to(offset);
        Ok(())
    }

    /// Notes that the map knows of every key up to `offset`.
    pub fn advance_to(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    /// Offset of the latest record of `key`, where the map has one.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let at = self.slot_of(siphash128(self.secret, key));
        (self.words[at + 2] as i64).checked_sub(1).filter(|offset| *offset >= 0)
    }

    /// Offset up to which the map knows of every key; -1 before the first.
    #[must_use]
    pub fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// Share of its room that is used.
    #[must_use]
    pub fn utilization(&self) -> f64 {
        self.used as f64 / self.used_max as f64
    }

    /// Where the slot of this hash begins, or the free one it would take.
    fn slot_of(&self, hash: [u64; 2]) -> usize {
        let slots = self.words.len() / SLOT_WORDS;
        let mut slot = (hash[0] % slots as u64) as usize;
        loop {
            let at = slot * SLOT_WORDS;
            if self.words[at + 2] == 0 || (self.words[at] == hash[0] && self.words[at + 1] == hash[1]) {
                return at;
            }
            slot = (slot + 1) % slots;
        }
    }
}

/// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein).
fn siphash128(key: [u64; 2], data: &[u8]) -> [u64; 2] {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d ^ 0xee,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let (chunks, rest) = data.as_chunks::<8>();
    for chunk in chunks {
        absorb(&mut v, u64::from_le_bytes(*chunk));
    }
    absorb(&mut v, word(rest) | (data.len() as u64) << 56);
    v[2] ^= 0xee;
    rounds(&mut v, 4);
    let first = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds(&mut v, 4);
    [first, v[0] ^ v[1] ^ v[2] ^ v[3]]
}

fn absorb(v: &mut [u64; 4], word: u64) {
    v[3] ^= word;
    rounds(v, 2);
    v[0] ^= word;
}

fn rounds(v: &mut [u64; 4], count: usize) {
    for _ in 0..count {
        v[0] = v[0].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(13) ^ v[0];
        v[0] = v[0].rotate_left(32);
        v[2] = v[2].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(16) ^ v[2];
        v[0] = v[0].wrapping_add(v[3]);
        v[3] = v[3].rotate_left(21) ^ v[0];
        v[2] = v[2].wrapping_add(v[1]);
        v[1] = v[1].rotate_left(17) ^ v[2];
        v[2] = v[2].rotate_left(32);
    }
}

/// Up to 8 bytes as a little-endian number.
fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_siphash() {
        // Vectors of the reference implementation: key 00..0f, input 00, 01, 02, ... of rising length.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let input: Vec<u8> = (0..16).collect();
        let check = |length: usize, expected: [u8; 16]| {
            let [low, high] = siphash128(key, &input[..length]);
            assert_eq!([low.to_le_bytes(), high.to_le_bytes()].concat(), expected, "{length} bytes");
        };
        check(0, [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93]);
        check(1, [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45]);
    }

    #[test]
    fn the_last_offset_of_each_key_wins() {
        let mut map = OffsetMap::new(1000, 1 << 20, 0.9, Random::real());
        for offset in 0..3000 {
            map.put(format!("key {}", offset % 1000).as_bytes(), offset).unwrap();
        }
        for key in 0..1000 {
            assert_eq!(map.get(format!("key {key}").as_bytes()), Some(2000 + key));
        }
        assert_eq!(map.get(b"other"), None);
        assert_eq!(map.latest_offset(), 2999);
        map.advance_to(5000);
        map.advance_to(10);
        assert_eq!(map.latest_offset(), 5000);
    }

    #[test]
    fn a_full_map_takes_known_keys_only() {
        let mut map = OffsetMap::new(u64::MAX, 100 * SLOT_BYTES as u64, 0.5, Random::real());
        for offset in 0..50 {
            map.put(&[offset as u8], offset).unwrap();
        }
        assert_eq!(map.put(b"another", 50), Err(Full));
        assert_eq!(map.latest_offset(), 49);
        assert!((map.utilization() - 1.0).abs() < 1e-9);
        assert_eq!(map.put(&[7], 51), Ok(()));
        assert_eq!((map.get(&[7]), map.get(&[8]), map.get(b"another")), (Some(51), Some(8), None));
    }
}
