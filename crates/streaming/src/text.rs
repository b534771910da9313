//! `Text`: a string that is cheap to cut and to clone. A short one lies in the value itself; a long one is a piece of a shared block. So the
//! lines of a source are pieces of the block they came in, and their words, mostly short, hold on to nothing: splitting a line allocates
//! nothing, and comparing two words follows no pointer.
//!
//! Always true: a piece begins and ends between characters; what fits into [`INLINE_BYTES_MAX`] is never a piece. A piece keeps its whole
//! block alive: call [`Text::detach`] on what is kept for long, such as the keys of a state, where keys may be long.
//!
//! # Layout
//! - [`lines`](self): lines out of bytes

mod lines;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

pub(crate) use self::lines::{LineCutter, TextBlocks};

/// Bytes that a value holds itself: as many as make it no larger than a piece is.
const INLINE_BYTES_MAX: usize = 23;

/// A string that is cheap to cut and to clone.
#[derive(Clone)]
pub struct Text(Repr);

#[derive(Clone)]
enum Repr {
    /// Bytes behind `len` are 0, so that two of them can be compared as they lie.
    Inline {
        len: u8,
        bytes: [u8; INLINE_BYTES_MAX],
    },
    Piece {
        block: Arc<str>,
        start: usize,
        end: usize,
    },
}

impl Text {
    /// The text as a `str`.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Inline { len, bytes } => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).expect("a text is made of whole characters")
            }
            Repr::Piece { block, start, end } => &block[*start..*end],
        }
    }

    /// Its bytes: cheaper than [`Text::as_str`] where they do.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Piece { block, start, end } => &block.as_bytes()[*start..*end],
        }
    }

    /// The pieces between occurrences of `separator`, as `str::split` cuts them: `"a  b"` by a space is `"a"`, `""`, `"b"`.
    #[must_use]
    #[inline]
    pub fn split(&self, separator: char) -> Split {
        Split { text: self.clone(), next: Some(0), separator }
    }

    /// The words: pieces between runs of white space, none of them empty.
    pub fn split_whitespace(&self) -> impl Iterator<Item = Text> + use<> {
        self.split_at_whitespace().into_iter()
    }

    fn split_at_whitespace(&self) -> Vec<Text> {
        let text = self.as_str();
        let within = |word: &str| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            self.cut(start..start + word.len())
        };
        text.split_whitespace().map(within).collect()
    }

    /// A copy that shares no block, for what is kept long.
    #[must_use]
    pub fn detach(&self) -> Text {
        match &self.0 {
            Repr::Inline { .. } => self.clone(),
            Repr::Piece { .. } => Text::from(self.as_str()),
        }
    }

    /// Whether both are pieces of the same block.
    #[cfg(test)]
    fn shares_block_with(&self, other: &Text) -> bool {
        match (&self.0, &other.0) {
            (Repr::Piece { block, .. }, Repr::Piece { block: of_other, .. }) => Arc::ptr_eq(block, of_other),
            _ => false,
        }
    }

    /// A part of a block; `range` lies between characters.
    #[inline]
    fn piece(block: &Arc<str>, range: Range<usize>) -> Text {
        if range.len() <= INLINE_BYTES_MAX {
            Text::inline(&block.as_bytes()[range])
        } else {
            Text(Repr::Piece { block: block.clone(), start: range.start, end: range.end })
        }
    }

    /// A part of this text; `range` lies between characters.
    #[inline]
    fn cut(&self, range: Range<usize>) -> Text {
        match &self.0 {
            Repr::Inline { bytes, .. } => Text::inline(&bytes[range]),
            Repr::Piece { block, start, .. } => Text::piece(block, start + range.start..start + range.end),
        }
    }

    /// At most [`INLINE_BYTES_MAX`] bytes, whole characters.
    #[inline]
    fn inline(text: &[u8]) -> Text {
        let mut bytes = [0; INLINE_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Text(Repr::Inline { len: text.len() as u8, bytes })
    }
}

/// See [`Text::split`].
pub struct Split {
    text: Text,
    /// Where the next piece begins; none once the last was given.
    next: Option<usize>,
    separator: char,
}

impl Iterator for Split {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let start = self.next?;
        let rest = &self.text.as_bytes()[start..];
        let at = if self.separator.is_ascii() {
            memchr::memchr(self.separator as u8, rest)
        } else {
            memchr::memmem::find(rest, self.separator.encode_utf8(&mut [0; 4]).as_bytes())
        };
        let end = start + at.unwrap_or(rest.len());
        self.next = at.map(|_| end + self.separator.len_utf8());
        Some(self.text.cut(start..end))
    }
}

impl Deref for Text {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        if text.len() <= INLINE_BYTES_MAX {
            Text::inline(text.as_bytes())
        } else {
            Text(Repr::Piece { start: 0, end: text.len(), block: Arc::from(text) })
        }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text::from(text.as_str())
    }
}

/// A short text is hashed as it lies, in words of eight bytes, so that its length decides nothing. It is not the hash of the `str`, and `Text`
/// therefore no `Borrow<str>`.
impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Repr::Inline { len, bytes } => {
                let (words, rest) = bytes.as_chunks::<8>();
                state.write_u64(u64::from_le_bytes(words[0]));
                state.write_u64(u64::from_le_bytes(words[1]) ^ u64::from(*len) << 56);
                if *len > 16 {
                    state.write(rest);
                }
            }
            Repr::Piece { .. } => state.write(self.as_bytes()),
        }
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Text) -> bool {
        match (&self.0, &other.0) {
            (Repr::Inline { len: a_len, bytes: a }, Repr::Inline { len: b_len, bytes: b }) => a_len == b_len && a == b,
            (Repr::Piece { .. }, Repr::Piece { .. }) => self.as_bytes() == other.as_bytes(),
            // One is too long for the other.
            _ => false,
        }
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn split_cuts_as_str_does() {
        for text in ["to be  or", "", " ", "a ", " a", "naïve ☃ snow", "one"] {
            for separator in [' ', '☃', 'o', 'ï'] {
                let ours: Vec<String> = Text::from(text).split(separator).map(|piece| piece.to_string()).collect();
                let theirs: Vec<&str> = text.split(separator).collect();
                assert_eq!(ours, theirs, "{text:?} by {separator:?}");
            }
            let ours: Vec<String> = Text::from(text).split_whitespace().map(|piece| piece.to_string()).collect();
            assert_eq!(ours, text.split_whitespace().collect::<Vec<_>>());
        }
    }

    #[test]
    fn pieces_of_pieces_share_the_block_until_detached() {
        let line = Text::from("honorificabilitudinitatibus or not");
        let word = line.split(' ').next().unwrap();
        assert!(word.shares_block_with(&line) && word == "honorificabilitudinitatibus");
        assert!(!word.detach().shares_block_with(&line) && word.detach() == word);
    }

    #[test]
    fn what_is_short_is_no_piece_and_equal_texts_are_equal_however_they_were_made() {
        let block = "n".repeat(INLINE_BYTES_MAX + 1) + " ";
        for len in 0..=INLINE_BYTES_MAX + 1 {
            let text = &block[..len];
            let (whole, cut) = (Text::from(text), Text::from(block.as_str()).cut(0..len));
            assert_eq!(matches!(cut.0, Repr::Inline { .. }), len <= INLINE_BYTES_MAX, "{len}");
            assert!(whole == cut && whole == text && cut.as_str() == text, "{len}");
            assert!(whole != Text::from(format!("{text}\0")), "{len}");
        }
        assert_eq!(std::mem::size_of::<Text>(), 32);
    }

    #[test]
    fn texts_that_differ_hash_apart() {
        let hasher = foldhash::quality::FixedState::default();
        let long = "a".repeat(INLINE_BYTES_MAX + 2);
        let texts = (0..long.len()).map(|len| long[..len].to_owned()).chain((0..6).map(|zeros| "\0".repeat(zeros)));
        let texts = texts.chain(["to", "ot", "seventeen letters", "seventeen letterz"].map(ToOwned::to_owned));
        let mut hashes = std::collections::HashMap::new();
        for text in texts {
            let other = hashes.insert(hasher.hash_one(Text::from(text.as_str())), text.clone());
            assert!(other.is_none() || other.as_deref() == Some(&*text), "{text:?} and {other:?}");
            assert_eq!(hasher.hash_one(Text::from(text.as_str())), hasher.hash_one(Text::from(text)));
        }
    }
}
