//! Lines out of bytes: gathered into blocks, and cut where they arrive in pieces.

use std::sync::Arc;

use crate::text::Text;

/// Bytes after which a block is closed and the next one begun. A single longer string makes a longer block.
pub(crate) const BLOCK_BYTES: usize = 64 * 1024;

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
            let text = Text::piece(&block, start..end);
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
