//! The console's thread: a listener, a few connections, an answer for each request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use runtime::Clock;
use runtime::clock::Seldom;
use runtime::net::{Listener, Stream};
use tokio::sync::{Semaphore, oneshot};
use tracing::{debug, error, warn};

use crate::io::{Connection, Time};
use crate::routes::{self, Asked, Reply, Shown};

/// Connections open at a time; more are closed at once.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's line and headers; more are answered with 431.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Headers of a request; more are answered with 431.
const HEADERS_MAX: usize = 64;
/// Longest wait for a request's headers, also between two requests of one connection.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(30);
/// A connection is closed after so long, so that a client that reads slowly holds its place no longer.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(120);
/// Answers looked up at a time; others wait.
const LOOKS_MAX: usize = 2;
/// Longest wait for an answer.
const LOOK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Pause after `accept` failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// From one word on that to the next.
const ACCEPT_WARNING_PAUSE: Duration = Duration::from_secs(30);

/// A running console. Dropping it stops it.
#[derive(Debug)]
pub struct Console {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    shown: Arc<dyn Shown>,
    looks: Arc<Semaphore>,
    clock: Clock,
}

impl Console {
    /// Binds `address` (port 0 takes a free one) and answers on a thread of its own.
    ///
    /// # Errors
    /// `AddrInUse` above all.
    pub fn start(address: SocketAddr, shown: impl Shown + 'static) -> io::Result<Console> {
        Console::start_sharing(address, Arc::new(shown))
    }

    /// The same where somebody else looks, too.
    ///
    /// # Errors
    /// `AddrInUse` above all.
    pub fn start_sharing(address: SocketAddr, shown: Arc<dyn Shown>) -> io::Result<Console> {
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = Arc::new(Shared { clock: Clock::real(), shown, looks: Arc::new(Semaphore::new(LOOKS_MAX)) });
        let (tell, bound) = std::sync::mpsc::sync_channel(1);
        let thread = runtime::thread("console", move || run(address, shared, stopped, &tell))?;
        // A thread that ends without a word has panicked.
        let address = bound.recv().unwrap_or_else(|_| Err(io::Error::other("the console's thread ended")))?;
        Ok(Console { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it answers, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops answering.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread: tells where it is bound, or why not, and answers until it is stopped.
fn run(
    address: SocketAddr,
    shared: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
    tell: &std::sync::mpsc::SyncSender<io::Result<SocketAddr>>,
) {
    let runtime = match runtime::spawn::current_thread() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    runtime.block_on(async {
        let bound = Listener::bind(address).and_then(|listener| Ok((listener.local_addr()?, listener)));
        // Whoever started the console waits for this.
        let listener = match bound {
            Ok((address, listener)) => {
                let _ = tell.send(Ok(address));
                listener
            }
            Err(error) => {
                let _ = tell.send(Err(error));
                return;
            }
        };
        tokio::select! {
            biased;
            _ = stopped => {}
            () = accept(listener, shared) => {}
        }
    });
    // Whoever is being answered is cut off: there is nothing to lose.
    runtime.shutdown_background();
}

async fn accept(listener: Listener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut failing = Seldom::new(shared.clock, ACCEPT_WARNING_PAUSE);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if failing.is_due() {
                    warn!(%error, "the console cannot accept a connection");
                }
                shared.clock.sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            debug!(%peer, "too many connections to the console; closing this one");
            continue;
        };
        let shared = shared.clone();
        runtime::spawn(async move {
            serve(stream, peer, shared).await;
            drop(place);
        });
    }
}

async fn serve(stream: Stream, peer: SocketAddr, shared: Arc<Shared>) {
    let clock = shared.clock;
    let service = service_fn(move |request| {
        let shared = shared.clone();
        async move { Ok::<_, Infallible>(respond(&request, &shared).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(Time(clock))
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false)
        .serve_connection(Connection(stream), service);
    tokio::select! {
        biased;
        served = connection => {
            if let Err(error) = served {
                debug!(%peer, %error, "a connection to the console ended");
            }
        }
        () = clock.sleep(CONNECTION_AGE_MAX) => debug!(%peer, "a connection to the console was open for too long"),
    }
}

async fn respond(request: &Request<Incoming>, shared: &Arc<Shared>) -> Response<Full<Bytes>> {
    let asked = routes::route(request.method(), request.uri().path());
    let reply = match asked {
        Asked::Now(..) => routes::answer(asked, &*shared.shown),
        _ => look(asked, shared).await,
    };
    let mut response = Response::new(Full::new(Bytes::from(reply.body)));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if reply.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if !request.body().is_end_stream() {
        // A body is not read, so what follows it cannot be found.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Looks on the pool for calls that block: a disk that does not answer must not keep `/healthz` from answering.
async fn look(asked: Asked, shared: &Arc<Shared>) -> Reply {
    let looked = async {
        let place = shared.looks.clone().acquire_owned().await.ok()?;
        let shown = shared.shown.clone();
        let looking = runtime::spawn_blocking(move || {
            let reply = routes::answer(asked, &*shown);
            // One that is stuck keeps its place, whoever asked has long been told so.
            drop(place);
            reply
        });
        looking.await.map_err(log_panic).ok()
    };
    tokio::select! {
        biased;
        reply = looked => reply.unwrap_or_else(routes::too_slow),
        () = shared.clock.sleep(LOOK_WAIT_MAX) => routes::too_slow(),
    }
}

fn log_panic(failed: tokio::task::JoinError) {
    error!(error = %failed, "the console could not look");
}
