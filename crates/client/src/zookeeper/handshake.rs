//! Opens one connection to one server: TCP, the connect record, its answer. Also asks a server whether it knows an operation, on a connection and a
//! session of its own, because old servers answer an unknown one by hanging up.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::zookeeper::{
    AddWatchMode, AddWatchRequest, ConnectRequest, ConnectResponse, ErrorCode, JuteError, MultiRequest, OpCode, Record,
    ReplyHeader, RequestHeader, frame, frame_length,
};
use runtime::Clock;
use runtime::net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Longest frame taken from a server. Servers refuse requests over 1 MiB, but the children of a large node or a multiRead can be longer than that.
pub(super) const REPLY_BYTES_MAX: usize = 16 << 20;

/// How a handshake ended.
#[derive(Debug)]
pub(super) enum Handshake {
    /// The session is set up on this connection.
    Connected(Stream, ConnectResponse),
    /// The server says that the session has expired.
    Expired,
}

/// Connects to `host` and sets up the session of `request`, all within `limit`.
///
/// # Errors
/// A text that says what went wrong; the next server may be better.
pub(super) async fn connect(
    clock: Clock,
    host: &(String, u16),
    request: &ConnectRequest,
    limit: Duration,
) -> Result<Handshake, String> {
    let deadline = clock.now() + limit;
    let (name, port) = host;
    let mut stream = Stream::connect(name, *port, limit).await.map_err(|e| format!("{name}:{port}: {e}"))?;
    let exchange = async {
        let mut out = BytesMut::new();
        frame(&mut out, |out| request.write(out));
        stream.write_all(&out).await.map_err(|e| e.to_string())?;
        let body = read_frame(&mut stream).await?;
        ConnectResponse::from_body(body).map_err(|e| format!("connect answer cannot be read: {e}"))
    };
    let answer = tokio::select! {
        biased;
        answer = exchange => answer,
        () = clock.sleep_until(deadline) => Err(format!("no answer in {limit:?}")),
    };
    let answer = answer.map_err(|why| format!("{name}:{port}: {why}"))?;
    if answer.timeout_ms <= 0 {
        return Ok(Handshake::Expired);
    }
    Ok(Handshake::Connected(stream, answer))
}

async fn read_frame(stream: &mut Stream) -> Result<Bytes, String> {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.map_err(|e| e.to_string())?;
    let length = frame_length(prefix, REPLY_BYTES_MAX).map_err(|e| e.to_string())?;
    let mut body = BytesMut::new();
    // Grows with what arrives, not with what the length claims.
    while body.len() < length {
        let wanted = length - body.len();
        let got = (&mut *stream).take(wanted as u64).read_buf(&mut body).await.map_err(|e| e.to_string())?;
        if got == 0 {
            return Err("the server closed the connection".to_owned());
        }
    }
    Ok(body.freeze())
}

/// Whether the server at `host` knows `op` (`AddWatch` or `MultiRead`).
///
/// # Errors
/// A text, where the server could not be asked.
pub(super) async fn knows(clock: Clock, host: &(String, u16), op: OpCode, limit: Duration) -> Result<bool, String> {
    let timeout_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let request = ConnectRequest {
        timeout_ms,
        password: Some(Bytes::from_static(&[0; 16])),
        read_only: Some(false),
        ..ConnectRequest::default()
    };
    let Handshake::Connected(mut stream, _) = connect(clock, host, &request, limit).await? else {
        return Err("the server gave a new session as expired".to_owned());
    };
    let mut out = BytesMut::new();
    frame(&mut out, |out| {
        RequestHeader { xid: 1, op: op.as_i32() }.write(out);
        match op {
            OpCode::AddWatch => {
                AddWatchRequest { path: "/".to_owned(), mode: AddWatchMode::Persistent.as_i32() }.write(out);
            }
            _ => MultiRequest::default().write(out),
        }
    });
    let exchange = async move {
        stream.write_all(&out).await.map_err(|e| e.to_string())?;
        let answer = loop {
            let body = match read_frame(&mut stream).await {
                Ok(body) => body,
                // Closed without a word: an unknown operation, to some servers.
                Err(_) => return Ok(false),
            };
            let header = ReplyHeader::from_body(body).map_err(|e: JuteError| e.to_string())?;
            if header.xid == 1 {
                break header.err;
            }
        };
        match answer {
            ErrorCode::Ok => {
                // Nobody waits for the end of the session that was made for the question.
                runtime::spawn(close(clock, stream, limit));
                Ok(true)
            }
            ErrorCode::Unimplemented => Ok(false),
            other => Err(other.to_string()),
        }
    };
    tokio::select! {
        biased;
        answer = exchange => answer,
        () = clock.sleep(limit) => Err(format!("no answer in {limit:?}")),
    }
}

/// Ends the session of a connection. It ends by itself where that does not arrive.
async fn close(clock: Clock, mut stream: Stream, limit: Duration) {
    let mut out = BytesMut::new();
    frame(&mut out, |out| RequestHeader { xid: 2, op: OpCode::CloseSession.as_i32() }.write(out));
    let closing = async {
        let _ = stream.write_all(&out).await;
        let _ = read_frame(&mut stream).await;
    };
    tokio::select! {
        biased;
        () = closing => {}
        () = clock.sleep(limit) => {}
    }
}
