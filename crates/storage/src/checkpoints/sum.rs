//! A checksum in a checkpoint file that Apache brokers of all versions read past: 32 blanks and tabs behind the last line, a bit each of the CRC-32C of the rest.
//!
//! The format has no place for a sum, and a digit that flips into another digit makes a good file that says something else. Every broker splits a line at its blanks and
//! drops what follows the last field. A file without a sum is one that another program wrote, or a person.

use crate::error::StorageError;

const BITS: usize = 32;
const ZERO: u8 = b' ';
const ONE: u8 = b'\t';

/// Puts the sum of a text at its end. The text must end a line; one of fewer than `lines_min` lines stays as it is.
pub(super) fn add(text: &mut String, lines_min: usize) {
    if !text.ends_with('\n') || text.lines().count() < lines_min {
        return;
    }
    let sum = crc_fast::crc32_iscsi(text.as_bytes());
    text.pop();
    text.extend((0..BITS).rev().map(|bit| char::from(if sum >> bit & 1 == 1 { ONE } else { ZERO })));
    text.push('\n');
}

/// Whether a text carries its sum.
///
/// # Errors
/// Why it is not the text that was written.
pub(super) fn check(text: &str) -> Result<bool, String> {
    let bytes = text.strip_suffix('\n').unwrap_or(text).as_bytes();
    let rest = bytes.iter().rposition(|byte| ![ZERO, ONE].contains(byte)).map_or(0, |last| last + 1);
    let (rest, blanks) = bytes.split_at(rest);
    if blanks.is_empty() {
        return Ok(false);
    }
    let stored = blanks.iter().fold(0, |sum: u32, byte| sum << 1 | u32::from(*byte == ONE));
    let mut whole = rest.to_vec();
    whole.push(b'\n');
    let computed = crc_fast::crc32_iscsi(&whole);
    if blanks.len() == BITS && stored == computed {
        return Ok(true);
    }
    Err(format!("its checksum (the blanks behind its last line) is {stored:08x}, its text gives {computed:08x}"))
}

/// The error of a text that does not carry its sum.
pub(super) fn damaged(path: &std::path::Path, text: &str, why: String) -> StorageError {
    StorageError::Checkpoint { path: path.to_owned(), line: text.lines().count().max(1), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_found_again_and_every_flip_of_what_it_covers_shows() {
        let mut text = "0\n2\na 0 5\nb 1 77\n".to_owned();
        assert_eq!(check(&text), Ok(false));
        let plain = text.clone();
        add(&mut text, 3);
        assert_eq!((check(&text), text.len()), (Ok(true), plain.len() + BITS));
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), plain.split_whitespace().collect::<Vec<_>>());
        for bit in 0..(plain.len() - 1) * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            assert!(check(&flipped).is_err(), "bit {bit}");
        }
        let mut empty = "0\n0\n".to_owned();
        add(&mut empty, 3);
        assert_eq!(empty, "0\n0\n");
    }
}
