//! A client as plain as can be: one socket, one request at a time, replies as they come.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use protocol::zookeeper::*;
use tempfile::TempDir;
use tidemill_keeper::{Keeper, KeeperConfig};

/// How long a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A keeper on a free port and its directory.
pub struct Home {
    pub dir: TempDir,
    pub keeper: Keeper,
}

/// A configuration on a free port; sessions as short as 400 ms.
pub fn config(dir: &std::path::Path) -> KeeperConfig {
    let mut config = KeeperConfig::new(dir);
    config.address = "127.0.0.1:0".parse().unwrap();
    config.tick_time_ms = 200;
    config.max_session_timeout_ms = Some(60_000);
    config
}

pub fn start() -> Home {
    start_with(|_| {})
}

pub fn start_with(change: impl FnOnce(&mut KeeperConfig)) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    change(&mut config);
    let keeper = Keeper::start(config).unwrap();
    Home { dir, keeper }
}

impl Home {
    pub fn client(&self) -> Client {
        Client::connect(self.keeper.local_addr(), 10_000)
    }
}

/// Runs a future to its end.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    runtime::spawn::current_thread().unwrap().block_on(future)
}

/// Waits until a condition holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = runtime::Clock::real();
    let deadline = clock.now() + PATIENCE;
    while !condition() {
        assert!(clock.now() < deadline, "{what}: not within {PATIENCE:?}");
        clock.block_for(Duration::from_millis(5));
    }
}

/// One frame from the keeper after the handshake.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub header: ReplyHeader,
    pub body: Bytes,
}

impl Reply {
    pub fn read<T: Record>(&self) -> T {
        assert_eq!(self.header.err, ErrorCode::Ok);
        T::from_body(self.body.clone()).unwrap()
    }

    /// `(type, path)` of an event.
    pub fn event(&self) -> (i32, String) {
        assert_eq!((self.header.xid, self.header.zxid), (-1, -1));
        let event: WatcherEvent = self.read();
        assert_eq!(event.state, 3);
        (event.event_type, event.path)
    }
}

pub struct Client {
    pub stream: TcpStream,
    pub hello: ConnectResponse,
    pub hello_bytes: usize,
    next_xid: i32,
    /// Events that came while another reply was awaited.
    pub events: Vec<Reply>,
}

impl Client {
    pub fn connect(address: SocketAddr, timeout_ms: i32) -> Client {
        Client::handshake(address, ConnectRequest { timeout_ms, read_only: Some(false), ..no_session() })
            .expect("connected")
    }

    /// Takes up a session on a new connection.
    pub fn resume(&self, address: SocketAddr) -> Option<Client> {
        Client::handshake(
            address,
            ConnectRequest {
                timeout_ms: self.hello.timeout_ms,
                session_id: self.hello.session_id,
                password: self.hello.password.clone(),
                ..no_session()
            },
        )
    }

    /// None where the keeper closes without an answer.
    pub fn handshake(address: SocketAddr, request: ConnectRequest) -> Option<Client> {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write_frame(&mut stream, |out| request.write(out));
        let body = read_frame(&mut stream)?;
        let hello = ConnectResponse::from_body(body.clone()).unwrap();
        Some(Client { stream, hello, hello_bytes: body.len(), next_xid: 1, events: Vec::new() })
    }

    pub fn session(&self) -> i64 {
        self.hello.session_id
    }

    pub fn send(&mut self, op: OpCode, body: &impl Record) -> i32 {
        let xid = self.next_xid;
        self.next_xid += 1;
        self.send_as(xid, op.as_i32(), body);
        xid
    }

    pub fn send_as(&mut self, xid: i32, op: i32, body: &impl Record) {
        write_frame(&mut self.stream, |out| {
            RequestHeader { xid, op }.write(out);
            body.write(out);
        });
    }

    /// The next frame, whatever it is; None where the connection is closed.
    pub fn next(&mut self) -> Option<Reply> {
        let mut reader = Reader::new(read_frame(&mut self.stream)?);
        let header = reader.read().unwrap();
        Some(Reply { header, body: reader.into_rest() })
    }

    /// The next event, be it here already or not.
    pub fn event(&mut self) -> (i32, String) {
        let reply = if self.events.is_empty() { self.next().expect("an event") } else { self.events.remove(0) };
        reply.event()
    }

    /// Sends a request and waits for its reply; events before it are kept.
    pub fn call(&mut self, op: OpCode, body: &impl Record) -> Reply {
        let xid = self.send(op, body);
        self.wait(xid)
    }

    pub fn wait(&mut self, xid: i32) -> Reply {
        loop {
            let reply = self.next().expect("a reply");
            if reply.header.xid == xid {
                return reply;
            }
            assert_eq!(reply.header.xid, -1, "{reply:?}");
            self.events.push(reply);
        }
    }

    pub fn error(&mut self, op: OpCode, body: &impl Record) -> ErrorCode {
        let reply = self.call(op, body);
        assert!(reply.header.err == ErrorCode::Ok || reply.body.is_empty());
        reply.header.err
    }

    pub fn create(&mut self, path: &str, data: &str, mode: CreateMode) -> Result<String, ErrorCode> {
        let reply = self.call(OpCode::Create, &create_request(path, data, mode));
        reply.header.err.into_result()?;
        Ok(reply.read::<CreateResponse>().path)
    }

    pub fn set(&mut self, path: &str, data: &str) -> Result<Stat, ErrorCode> {
        let data = Some(Bytes::copy_from_slice(data.as_bytes()));
        let reply = self.call(OpCode::SetData, &SetDataRequest { path: path.into(), data, version: -1 });
        reply.header.err.into_result()?;
        Ok(reply.read::<SetDataResponse>().stat)
    }

    pub fn get(&mut self, path: &str) -> Result<(String, Stat), ErrorCode> {
        let reply = self.call(OpCode::GetData, &GetDataRequest { path: path.into(), watch: false });
        reply.header.err.into_result()?;
        let response: GetDataResponse = reply.read();
        Ok((String::from_utf8(response.data.unwrap_or_default().to_vec()).unwrap(), response.stat))
    }

    pub fn delete(&mut self, path: &str) -> Result<(), ErrorCode> {
        self.error(OpCode::Delete, &DeleteRequest { path: path.into(), version: -1 }).into_result()
    }

    pub fn exists(&mut self, path: &str) -> bool {
        self.error(OpCode::Exists, &ExistsRequest { path: path.into(), watch: false }) == ErrorCode::Ok
    }

    pub fn children(&mut self, path: &str) -> Vec<String> {
        self.call(OpCode::GetChildren, &GetChildrenRequest { path: path.into(), watch: false })
            .read::<GetChildrenResponse>()
            .children
    }

    pub fn is_closed(&mut self) -> bool {
        self.next().is_none()
    }
}

/// The empty body.
pub const NOTHING: Nothing = Nothing;

pub struct Nothing;

impl Record for Nothing {
    const MIN_BYTES: usize = 0;
    fn read(_: &mut Reader) -> Result<Nothing, JuteError> {
        Ok(Nothing)
    }
    fn write(&self, _: &mut BytesMut) {}
}

pub fn no_session() -> ConnectRequest {
    ConnectRequest { password: Some(Bytes::from_static(&[0; 16])), timeout_ms: 10_000, ..Default::default() }
}

pub fn create_request(path: &str, data: &str, mode: CreateMode) -> CreateRequest {
    let data = Some(Bytes::copy_from_slice(data.as_bytes()));
    CreateRequest { path: path.into(), data, acl: Acl::open(), flags: mode.as_i32() }
}

pub fn write_frame(stream: &mut TcpStream, write_body: impl FnOnce(&mut BytesMut)) {
    let mut out = BytesMut::new();
    frame(&mut out, write_body);
    stream.write_all(&out).unwrap();
}

/// None at the end of the stream; a read that takes longer than [`PATIENCE`] fails the test.
pub fn read_frame(stream: &mut TcpStream) -> Option<Bytes> {
    let mut prefix = [0; 4];
    match stream.read_exact(&mut prefix) {
        Ok(()) => {}
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset) =>
        {
            return None;
        }
        Err(error) => panic!("no frame: {error}"),
    }
    let mut body = vec![0; frame_length(prefix, 64 << 20).unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some(body.into())
}

/// Sends four letters and reads the answer to its end.
pub fn four_letters(address: SocketAddr, word: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(word.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
