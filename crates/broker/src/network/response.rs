//! A response on its way out: bytes and slices of log files, in order.

use std::io;

use bytes::Bytes;
use protocol::api::ApiKey;
use protocol::messages::Message;
use protocol::wire::{Piece, WireError};
use runtime::net::WriteHalf;
use tokio::io::AsyncWriteExt;

/// A piece of a log file, sent by the kernel without passing through the program.
#[derive(Debug, Clone)]
pub struct FileSlice {
    /// The segment's file.
    pub file: runtime::File,
    /// Where the slice begins.
    pub position: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// One frame, ready to be sent.
#[derive(Debug)]
pub struct Response {
    pieces: Vec<Piece>,
    files: Vec<FileSlice>,
    /// What it answers.
    pub api: ApiKey,
    /// Whether the connection ends after it.
    pub close_after: bool,
}

impl Response {
    /// Encodes a response with its size and header. `files` are the payloads of the gaps that the body leaves, in their order.
    ///
    /// # Errors
    /// A field that this version cannot carry: a mistake of the handler.
    pub fn encode<M: Message>(
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        body: &M,
        files: Vec<FileSlice>,
    ) -> Result<Response, WireError> {
        let pieces = protocol::frame::encode_response_pieces(api, version, correlation_id, body)?;
        Ok(Response { pieces, files, api, close_after: false })
    }

    /// Sends the whole frame.
    ///
    /// # Errors
    /// What the socket says; a part may have been sent then, and the connection cannot go on.
    pub async fn send(self, stream: &mut WriteHalf) -> io::Result<()> {
        let mut pieces = self.pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                // The head of a response and the records after it leave in the same packets.
                Piece::Bytes(bytes) if pieces.peek().is_some_and(is_longer_than_nothing) => {
                    stream.write_all_before_more(&bytes).await?
                }
                Piece::Bytes(bytes) => stream.write_all(&bytes).await?,
                Piece::External { index, length } => {
                    let slice = self.files.get(index).filter(|slice| slice.length == length as u64);
                    let slice = slice.ok_or_else(|| io::Error::other("a response's gap has no payload of its size"))?;
                    stream.send_file(&slice.file, slice.position, slice.length).await?;
                }
            }
        }
        Ok(())
    }

    /// The whole frame in memory, size included: for whoever has no socket.
    ///
    /// # Errors
    /// What the disk says of a slice.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        let mut frame = Vec::new();
        for piece in self.pieces {
            match piece {
                Piece::Bytes(bytes) => frame.extend_from_slice(&bytes),
                Piece::External { index, length } => {
                    let slice = self.files.get(index).filter(|slice| slice.length == length as u64);
                    let slice = slice.ok_or_else(|| io::Error::other("a response's gap has no payload of its size"))?;
                    let start = frame.len();
                    frame.resize(start + length, 0);
                    slice.file.read_exact_at(&mut frame[start..], slice.position)?;
                }
            }
        }
        Ok(Bytes::from(frame))
    }

    /// The bytes of a frame without file slices, to be sent together with its neighbours.
    fn take_single(&mut self) -> Option<Bytes> {
        match self.pieces.as_mut_slice() {
            [Piece::Bytes(bytes)] => Some(std::mem::take(bytes)),
            _ => None,
        }
    }
}

fn is_longer_than_nothing(piece: &Piece) -> bool {
    match piece {
        Piece::Bytes(bytes) => !bytes.is_empty(),
        Piece::External { length, .. } => *length > 0,
    }
}

/// Responses that were ready at the same time, so that small ones leave in one packet.
pub async fn send_all(responses: Vec<Response>, stream: &mut WriteHalf) -> io::Result<()> {
    /// Small responses are copied together up to this many bytes.
    const GATHER_BYTES_MAX: usize = 16 * 1024;
    let several = responses.len() > 1;
    let mut gathered: Vec<u8> = Vec::new();
    for mut response in responses {
        if several && let Some(bytes) = response.take_single() {
            if gathered.len() + bytes.len() > GATHER_BYTES_MAX && !gathered.is_empty() {
                stream.write_all(&gathered).await?;
                gathered.clear();
            }
            if bytes.len() > GATHER_BYTES_MAX {
                stream.write_all(&bytes).await?;
            } else {
                gathered.extend_from_slice(&bytes);
            }
            continue;
        }
        if !gathered.is_empty() {
            stream.write_all(&gathered).await?;
            gathered.clear();
        }
        response.send(stream).await?;
    }
    if !gathered.is_empty() {
        stream.write_all(&gathered).await?;
    }
    Ok(())
}
