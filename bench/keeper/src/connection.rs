//! One client of a ZooKeeper server: the handshake, requests as jute bytes, and replies in the order of the requests.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

pub const CREATE: i32 = 1;
pub const GET_DATA: i32 = 4;
pub const SET_DATA: i32 = 5;
pub const CHECK: i32 = 13;
pub const MULTI: i32 = 14;
pub const MULTI_READ: i32 = 22;

const SESSION_TIMEOUT_MS: i32 = 30_000;

/// Bytes read ahead of what is looked at.
const READ_BYTES: usize = 128 << 10;

/// Replies are waited for before more than this is written, or both sides could wait for the other to read.
const WRITE_BYTES_MAX: usize = 200_000;

/// A connection with a session.
pub struct Connection {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    xid: i32,
    /// Requests written and not answered: their numbers and when they left.
    waiting: VecDeque<(i32, Instant)>,
    out: Vec<u8>,
}

/// A reply.
pub struct Reply {
    /// The header's error: 0 where it went well.
    pub error: i32,
    pub body: Vec<u8>,
    /// When its request was made.
    pub asked: Instant,
}

impl Connection {
    /// Connects and begins a session.
    pub fn open(address: &str) -> io::Result<Connection> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            reader: BufReader::with_capacity(READ_BYTES, stream.try_clone()?),
            writer: stream,
            xid: 0,
            waiting: VecDeque::new(),
            out: Vec::new(),
        };
        // Protocol version, newest zxid seen, session timeout, session (0: a new one), its password, read only.
        let mut request = Vec::new();
        request.extend(0i32.to_be_bytes());
        request.extend(0i64.to_be_bytes());
        request.extend(SESSION_TIMEOUT_MS.to_be_bytes());
        request.extend(0i64.to_be_bytes());
        put_bytes(&mut request, &[0; 16]);
        request.push(0);
        connection.put_frame(&request);
        connection.write_out()?;
        connection.read_frame()?;
        Ok(connection)
    }

    /// Puts a request behind those to be written.
    pub fn ask(&mut self, op: i32, body: &[u8]) {
        self.xid += 1;
        self.out.extend((8 + body.len() as i32).to_be_bytes());
        self.out.extend(self.xid.to_be_bytes());
        self.out.extend(op.to_be_bytes());
        self.out.extend(body);
        self.waiting.push_back((self.xid, Instant::now()));
    }

    /// Whether so much waits to be written that replies should be taken first.
    pub fn is_full(&self) -> bool {
        self.out.len() > WRITE_BYTES_MAX
    }

    /// Writes the requests that were asked.
    pub fn write_out(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.writer.write_all(&self.out)?;
            self.out.clear();
        }
        Ok(())
    }

    /// Requests without a reply.
    pub fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    /// The next reply. Events between are passed over.
    pub fn reply(&mut self) -> io::Result<Reply> {
        loop {
            let frame = self.read_frame()?;
            let header = |from: usize| frame.get(from..from + 4).and_then(|bytes| bytes.try_into().ok());
            let (Some(xid), Some(error)) = (header(0), header(12)) else { return Err(broken("a reply without header")) };
            let (xid, error) = (i32::from_be_bytes(xid), i32::from_be_bytes(error));
            if xid == -1 {
                continue;
            }
            let Some((expected, asked)) = self.waiting.pop_front() else { return Err(broken("a reply to nothing")) };
            if xid != expected {
                return Err(broken("replies out of order"));
            }
            return Ok(Reply { error, body: frame[16..].to_vec(), asked });
        }
    }

    /// Whether a reply can be taken without waiting for the network.
    pub fn has_buffered(&self) -> bool {
        self.reader.buffer().len() >= 4
    }

    /// Asks once and waits.
    pub fn call(&mut self, op: i32, body: &[u8]) -> io::Result<Reply> {
        self.ask(op, body);
        self.write_out()?;
        self.reply()
    }

    fn put_frame(&mut self, body: &[u8]) {
        self.out.extend((body.len() as i32).to_be_bytes());
        self.out.extend(body);
    }

    fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        let mut length = [0; 4];
        self.reader.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(|_| broken("a negative length"))?;
        let mut frame = vec![0; length];
        self.reader.read_exact(&mut frame)?;
        Ok(frame)
    }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as i32).to_be_bytes());
    out.extend(bytes);
}

/// The body of a create of a persistent, open node.
pub fn create(path: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(path.len() + data.len() + 64);
    put_bytes(&mut body, path.as_bytes());
    put_bytes(&mut body, data);
    // One entry of the ACL: all permissions, for everybody; then flags.
    body.extend(1i32.to_be_bytes());
    body.extend(31i32.to_be_bytes());
    put_bytes(&mut body, b"world");
    put_bytes(&mut body, b"anyone");
    body.extend(0i32.to_be_bytes());
    body
}

/// The body of a setData, whatever the version.
pub fn set_data(path: &str, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(path.len() + data.len() + 16);
    put_bytes(&mut body, path.as_bytes());
    put_bytes(&mut body, data);
    body.extend((-1i32).to_be_bytes());
    body
}

/// The body of a getData.
pub fn get_data(path: &str, watch: bool) -> Vec<u8> {
    let mut body = Vec::with_capacity(path.len() + 8);
    put_bytes(&mut body, path.as_bytes());
    body.push(u8::from(watch));
    body
}

/// The body of a multi: a check of a version, then operations with their bodies.
pub fn multi(checked: Option<(&str, i32)>, operations: &[(i32, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    let header = |body: &mut Vec<u8>, op: i32, done: bool| {
        body.extend(op.to_be_bytes());
        body.push(u8::from(done));
        body.extend((-1i32).to_be_bytes());
    };
    if let Some((path, version)) = checked {
        header(&mut body, CHECK, false);
        put_bytes(&mut body, path.as_bytes());
        body.extend(version.to_be_bytes());
    }
    for (op, operation) in operations {
        header(&mut body, *op, false);
        body.extend(operation);
    }
    header(&mut body, -1, true);
    body
}

/// Whether the reply to a multi says that it failed: its first result is an error.
pub fn multi_failed(reply: &Reply) -> bool {
    reply.body.starts_with(&(-1i32).to_be_bytes())
}
