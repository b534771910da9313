//! Messages filled with random values, for tests: every field a version carries gets one. Same seed, same message.

use bytes::Bytes;

use super::*;
use crate::types::Uuid;
use crate::wire::{Records, SHARED_BYTES_MIN, Str};

/// Random numbers from a seed (xorshift).
pub struct Source(u64);

impl Source {
    /// The numbers of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Source {
        Source(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next_u64() >> 32) as usize % limit
    }

    fn integer(&mut self) -> i64 {
        // Edges and small numbers are where encodings differ; the rest is anything.
        match self.below(4) {
            0 => self.next_u64() as i64 >> self.below(64),
            1 => self.below(3) as i64 - 1,
            2 => self.below(300) as i64,
            _ => self.next_u64() as i64,
        }
    }
}

/// A type that can be filled with random values. Null is used only if `nullable`.
pub trait Sample: Sized {
    /// A value as `version` can carry it.
    fn sample(source: &mut Source, version: i16, nullable: bool) -> Self;
}

/// A random request and a random response of one API in one version, without their headers.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The API.
    pub api: ApiKey,
    /// The version both are written in.
    pub version: i16,
    /// Body of the request.
    pub request: Bytes,
    /// Body of the response.
    pub response: Bytes,
    /// Whether bytes are read as such a request.
    pub reads_request: fn(Bytes, i16) -> bool,
    /// Whether bytes are read as such a response.
    pub reads_response: fn(Bytes, i16) -> bool,
}

/// One exchange for each API with a table in each of its versions.
#[must_use]
pub fn exchanges(seed: u64) -> Vec<Exchange> {
    let mut source = Source::new(seed);
    let mut all = Vec::new();
    macro_rules! add_all {
        ([] $($key:ident: $module:ident, $request:ident, $response:ident;)*) => {$(
            for version in $module::$request::VERSIONS {
                all.push(Exchange {
                    api: ApiKey::$key,
                    version,
                    request: random_bytes::<$module::$request>(&mut source, version),
                    response: random_bytes::<$module::$response>(&mut source, version),
                    reads_request: reads::<$module::$request>,
                    reads_response: reads::<$module::$response>,
                });
            }
        )*};
    }
    for_each_api!(add_all);
    all
}

fn random_bytes<M: Message + Sample>(source: &mut Source, version: i16) -> Bytes {
    let mut writer = Writer::new();
    // A sample has values only in fields the version carries, so it can be written.
    match M::sample(source, version, true).encode(&mut writer, version).and_then(|()| writer.into_bytes()) {
        Ok(bytes) => bytes,
        Err(error) => unreachable!("{} v{version}: {error}", M::NAME),
    }
}

fn reads<M: Message>(bytes: Bytes, version: i16) -> bool {
    M::decode(&mut Reader::new(bytes), version).is_ok()
}

macro_rules! integer_samples {
    ($($type:ty)*) => {$(
        impl Sample for $type {
            fn sample(source: &mut Source, _version: i16, _nullable: bool) -> $type {
                source.integer() as $type
            }
        }
    )*};
}

integer_samples! { i8 i16 u16 i32 u32 i64 f64 }

impl Sample for bool {
    fn sample(source: &mut Source, _version: i16, _nullable: bool) -> bool {
        source.below(2) == 1
    }
}

impl Sample for Uuid {
    fn sample(source: &mut Source, _version: i16, _nullable: bool) -> Uuid {
        let mut bytes = [0; 16];
        if source.below(4) > 0 {
            bytes[..8].copy_from_slice(&source.next_u64().to_be_bytes());
            bytes[8..].copy_from_slice(&source.next_u64().to_be_bytes());
        }
        Uuid(bytes)
    }
}

impl Sample for Str {
    fn sample(source: &mut Source, _version: i16, _nullable: bool) -> Str {
        const ALPHABET: &[char] = &['a', 'k', 'z', 'Q', '0', '7', '.', '_', '-', 'é', '潮'];
        let length = if source.below(16) == 0 { 300 } else { source.below(12) };
        (0..length).map(|_| ALPHABET[source.below(ALPHABET.len())]).collect::<String>().into()
    }
}

impl Sample for Bytes {
    fn sample(source: &mut Source, _version: i16, _nullable: bool) -> Bytes {
        let length = if source.below(16) == 0 { SHARED_BYTES_MIN + source.below(100) } else { source.below(40) };
        (0..length).map(|_| source.next_u64() as u8).collect::<Vec<u8>>().into()
    }
}

impl Sample for Records {
    fn sample(source: &mut Source, version: i16, nullable: bool) -> Records {
        <Option<Bytes>>::sample(source, version, nullable).map_or(Records::Null, Records::Bytes)
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source, version: i16, _nullable: bool) -> Vec<T> {
        (0..source.below(4)).map(|_| T::sample(source, version, true)).collect()
    }
}

macro_rules! optional_samples {
    ($([$($generics:tt)*] $type:ty;)*) => {$(
        impl<$($generics)*> Sample for Option<$type> {
            fn sample(source: &mut Source, version: i16, nullable: bool) -> Option<$type> {
                if nullable && source.below(3) == 0 { None } else { Some(Sample::sample(source, version, true)) }
            }
        }
    )*};
}

optional_samples! {
    [] Str;
    [] Bytes;
    [T: Sample] Vec<T>;
    [T: Sample + Message] T;
}
