//! `Text`: a string that is a piece of a shared block. Lines of a source and words of a line are pieces of the block they came in, so
//! splitting allocates nothing.
//!
//! Always true: a piece begins and ends between characters. A piece keeps its whole block alive: call [`Text::detach`] on what is kept for
//! long, such as the keys of a state.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Bytes after which a block is closed and the next one begun. A single longer string makes a longer block.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

/// A string that is a piece of a shared block. Cheap to clone.
#[derive(Clone)]
pub struct Text {
    block: Arc<str>,
    start: usize,
    end: usize,
}

impl Text {
    /// The piece as a `str`.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.block[self.start..self.end]
    }

    /// The pieces between occurrences of `separator`, as `str::split` cuts them: `"a  b"` by a space is `"a"`, `""`, `"b"`.
    #[must_use]
    #[inline]
    pub fn split(&self, separator: char) -> Split {
        Split { rest: Some(self.clone()), separator }
    }

    /// The words: pieces between runs of white space, none of them empty.
    pub fn split_whitespace(&self) -> impl Iterator<Item = Text> + use<> {
        self.split_at_whitespace().into_iter()
    }

    fn split_at_whitespace(&self) -> Vec<Text> {
        let text = self.as_str();
        let within = |word: &str| {
            let start = word.as_ptr() as usize - text.as_ptr() as usize;
            self.piece(start..start + word.len())
        };
        text.split_whitespace().map(within).collect()
    }

    /// A copy in a block of its own, for what is kept long.
    #[must_use]
    pub fn detach(&self) -> Text {
        Text::from(self.as_str())
    }

    /// Whether both are pieces of the same block.
    #[cfg(test)]
    fn shares_block_with(&self, other: &Text) -> bool {
        Arc::ptr_eq(&self.block, &other.block)
    }

    /// A piece of this piece; `range` lies between characters.
    #[inline]
    fn piece(&self, range: Range<usize>) -> Text {
        Text { block: self.block.clone(), start: self.start + range.start, end: self.start + range.end }
    }
}

/// See [`Text::split`].
pub struct Split {
    rest: Option<Text>,
    separator: char,
}

impl Iterator for Split {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let rest = self.rest.take()?;
        let text = rest.as_str();
        let at = if self.separator.is_ascii() {
            memchr::memchr(self.separator as u8, text.as_bytes())
        } else {
            text.find(self.separator)
        };
        match at {
            None => Some(rest),
            Some(at) => {
                let piece = rest.piece(0..at);
                self.rest = Some(Text { start: rest.start + at + self.separator.len_utf8(), ..rest });
                Some(piece)
            }
        }
    }
}

impl Deref for Text {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
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
        Text { start: 0, end: text.len(), block: Arc::from(text) }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text { start: 0, end: text.len(), block: Arc::from(text) }
    }
}

impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        self.as_str().cmp(other.as_str())
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

/// Gathers strings into blocks. What is not UTF-8 is replaced by U+FFFD, as Java decodes.
#[derive(Default)]
pub(crate) struct TextBlocks {
    block: String,
    ends: Vec<usize>,
    texts: Vec<Text>,
}

impl TextBlocks {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.block.push_str(&String::from_utf8_lossy(bytes));
        self.ends.push(self.block.len());
        if self.block.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    /// The strings of closed blocks, which then leave.
    pub(crate) fn drain_closed(&mut self) -> std::vec::Drain<'_, Text> {
        self.texts.drain(..)
    }

    /// Strings so far, those of the open block included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.texts.len() + self.ends.len()
    }

    pub(crate) fn finish(mut self) -> Vec<Text> {
        self.close_block();
        self.texts
    }

    fn close_block(&mut self) {
        let block: Arc<str> = Arc::from(self.block.as_str());
        self.block.clear();
        let mut start = 0;
        self.texts.extend(self.ends.drain(..).map(|end| {
            let text = Text { block: block.clone(), start, end };
            start = end;
            text
        }));
    }
}

/// Cuts bytes that arrive in pieces into lines, which end with `\n` or `\r\n`.
#[derive(Default)]
pub(crate) struct LineCutter {
    /// The line that has not ended yet.
    open: Vec<u8>,
}

/// Longest line. What is longer is cut, so that a peer that never ends a line cannot fill the memory.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

impl LineCutter {
    pub(crate) fn cut(&mut self, mut bytes: &[u8], into: &mut TextBlocks) {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            if self.open.is_empty() {
                into.push(without_return(line));
            } else {
                self.open.extend_from_slice(line);
                into.push(without_return(&self.open));
                self.open.clear();
            }
            bytes = rest;
        }
        self.open.extend_from_slice(bytes);
        if self.open.len() >= LINE_BYTES_MAX {
            tracing::warn!(LINE_BYTES_MAX, "a line is too long and is cut");
            into.push(&self.open);
            self.open.clear();
        }
    }

    /// The line that the end of the stream ends.
    pub(crate) fn end(&mut self, into: &mut TextBlocks) {
        if !self.open.is_empty() {
            into.push(without_return(&self.open));
            self.open.clear();
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
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
        let line = Text::from("to be or not");
        let word = line.split(' ').nth(3).unwrap();
        assert!(word.shares_block_with(&line) && word == "not");
        assert!(!word.detach().shares_block_with(&line) && word.detach() == word);
    }

    #[test]
    fn lines_come_whole_however_the_bytes_arrive() {
        let bytes = "one\ntwo\r\n\nfour, naïve\nlast".as_bytes();
        for size in 1..=bytes.len() {
            let (mut cutter, mut blocks) = (LineCutter::default(), TextBlocks::default());
            bytes.chunks(size).for_each(|chunk| cutter.cut(chunk, &mut blocks));
            assert_eq!(blocks.len(), 4);
            cutter.end(&mut blocks);
            assert_eq!(blocks.finish(), ["one", "two", "", "four, naïve", "last"].map(Text::from), "{size}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_replaced() {
        let mut blocks = TextBlocks::default();
        blocks.push(b"a\xffb");
        blocks.push(b"\xc3");
        blocks.push(b"c");
        assert_eq!(blocks.finish(), ["a\u{fffd}b", "\u{fffd}", "c"].map(Text::from));
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let (mut cutter, mut blocks) = (LineCutter::default(), TextBlocks::default());
        cutter.cut(&vec![b'x'; LINE_BYTES_MAX + 5], &mut blocks);
        cutter.cut(b"\n", &mut blocks);
        let lines = blocks.finish();
        assert_eq!(lines[0].len(), LINE_BYTES_MAX + 5);
    }
}
