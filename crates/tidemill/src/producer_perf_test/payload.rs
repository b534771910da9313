//! What the records hold: random letters, lines of a file, or their own numbers.

use std::path::Path;

use bytes::{Bytes, BytesMut};
use runtime::{Disk, Random};

use crate::failure::Failure;

/// Largest file of payloads.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Payloads that share one allocation are together about so long.
const BLOCK_BYTES: usize = 64 << 10;

/// Where payloads come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadSource {
    /// `--record-size`: so many random capital letters.
    Random { size: usize },
    /// `--payload-file`: any of its parts.
    File { path: String, delimiter: String },
    /// `--payload-monotonic`: the number of the record.
    Number,
}

/// Makes one payload after the other.
pub enum Payloads {
    Random { size: usize, letters: Letters, block: BytesMut },
    Given { payloads: Vec<Bytes>, letters: Letters },
    Number,
}

impl Payloads {
    /// Reads the file, where there is one, and says so as Kafka's tool does.
    ///
    /// # Errors
    /// A file that is not there, empty or not text.
    pub fn new(source: &PayloadSource) -> Result<Payloads, Failure> {
        let letters = Letters(Random::real().u64());
        match source {
            PayloadSource::Random { size } => Ok(Payloads::Random { size: *size, letters, block: BytesMut::new() }),
            PayloadSource::File { path, delimiter } => {
                Ok(Payloads::Given { payloads: read_file(path, delimiter)?, letters })
            }
            PayloadSource::Number => Ok(Payloads::Number),
        }
    }

    /// The payload of record `number`.
    pub fn next(&mut self, number: u64) -> Bytes {
        match self {
            Payloads::Random { size, letters, block } => {
                if block.len() < *size {
                    let count = (BLOCK_BYTES / *size).max(1);
                    *block = BytesMut::zeroed(count * *size);
                    letters.fill(block);
                }
                block.split_to(*size).freeze()
            }
            Payloads::Given { payloads, letters } => payloads[letters.below(payloads.len())].clone(),
            Payloads::Number => Bytes::from(number.to_string()),
        }
    }
}

fn read_file(path: &str, delimiter: &str) -> Result<Vec<Bytes>, Failure> {
    let refuse = |why: &dyn std::fmt::Display| {
        Failure::verbatim("File does not exist or empty file provided.").cause(format!("{path}: {why}"))
    };
    println!("Reading payloads from: {}", std::path::absolute(path).unwrap_or_else(|_| path.into()).display());
    let bytes = Disk::real().read(Path::new(path), FILE_BYTES_MAX).map_err(|error| refuse(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| refuse(&error))?;
    if text.is_empty() {
        return Err(refuse(&"it is empty"));
    }
    let delimiter = if delimiter == "\\n" { "\n" } else { delimiter };
    // What follows the last delimiter is a payload only where there is something.
    let text = text.strip_suffix(delimiter).unwrap_or(&text);
    let payloads: Vec<Bytes> = text.split(delimiter).map(|part| Bytes::copy_from_slice(part.as_bytes())).collect();
    println!("Number of messages read: {}", payloads.len());
    Ok(payloads)
}

/// Letters and choices by chance: xorshift64*, which costs next to nothing beside what is measured.
pub struct Letters(u64);

impl Letters {
    fn next(&mut self) -> u64 {
        // Zero would stay zero.
        let mut state = self.0.max(1);
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0 = state;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    /// Capital letters, eight to a draw.
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            for (byte, random) in chunk.iter_mut().zip(self.next().to_le_bytes()) {
                *byte = b'A' + ((u16::from(random) * 26) >> 8) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_payloads_are_letters_of_the_size_asked_for() {
        for size in [1, 7, 100, BLOCK_BYTES + 1] {
            let mut payloads = Payloads::new(&PayloadSource::Random { size }).unwrap();
            let (first, second) = (payloads.next(0), payloads.next(1));
            assert_eq!((first.len(), second.len()), (size, size));
            assert!(first.iter().all(u8::is_ascii_uppercase));
            assert!(size < 7 || first != second);
        }
    }

    #[test]
    fn numbers_count_up() {
        let mut payloads = Payloads::new(&PayloadSource::Number).unwrap();
        assert_eq!((payloads.next(0), payloads.next(12)), (Bytes::from("0"), Bytes::from("12")));
    }

    #[test]
    fn a_file_is_cut_at_its_delimiter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payloads");
        let check = |text: &str, delimiter: &str, expected: Option<&[&str]>| {
            Disk::real().write_atomic(&path, text.as_bytes()).unwrap();
            let read = read_file(path.to_str().unwrap(), delimiter).ok();
            let read: Option<Vec<&str>> =
                read.as_ref().map(|read| read.iter().map(|part| std::str::from_utf8(part).unwrap()).collect());
            assert_eq!(read.as_deref(), expected, "{text:?} {delimiter:?}");
        };
        check("a\nb\n", "\\n", Some(&["a", "b"]));
        check("a;b", ";", Some(&["a", "b"]));
        check("", ";", None);
        assert!(read_file("/there/is/none", ";").is_err());
    }
}
