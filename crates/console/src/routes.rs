//! Paths to answers. Whoever asks by hand or by machine gets plain text.

use hyper::{Method, StatusCode};

use crate::exposition::CONTENT_TYPE;

const TEXT: &str = "text/plain; charset=utf-8";

/// What `/` says.
const INDEX: &str = "/metrics   what is counted, as Prometheus reads it\n\
                     /healthz   200 while the process lives\n\
                     /readyz    200 while it can do its work, else 503 and why\n";

/// What a console shows: the servers of a process, or a job. Looking may wait for locks and for the disk.
pub trait Shown: Send + Sync {
    /// Everything that is counted, as Prometheus reads it.
    fn metrics(&self) -> String;
    /// Why it cannot do its work, a sentence for each reason; nothing where it can.
    fn reasons(&self) -> Vec<String>;
}

/// What is sent back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// What the body is.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Something that is known at once.
    Now(StatusCode, &'static str),
    /// `/metrics`.
    Metrics,
    /// `/readyz`.
    Readiness,
}

/// What a request asks for, by its method and path.
#[must_use]
pub fn route(method: &Method, path: &str) -> Asked {
    if *method != Method::GET && *method != Method::HEAD {
        return Asked::Now(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
    }
    match path {
        "/" => Asked::Now(StatusCode::OK, INDEX),
        "/healthz" => Asked::Now(StatusCode::OK, "alive\n"),
        "/readyz" => Asked::Readiness,
        // The second is where Spark has its servlet.
        "/metrics" | "/metrics/prometheus" => Asked::Metrics,
        _ => Asked::Now(StatusCode::NOT_FOUND, "nothing is here; / lists what there is\n"),
    }
}

/// Looks, which may wait for locks and for the disk.
#[must_use]
pub fn answer(asked: Asked, shown: &dyn Shown) -> Reply {
    match asked {
        Asked::Now(status, text) => Reply { status, content_type: TEXT, body: text.to_owned() },
        Asked::Metrics => Reply { status: StatusCode::OK, content_type: CONTENT_TYPE, body: shown.metrics() },
        Asked::Readiness => {
            let reasons = shown.reasons();
            if reasons.is_empty() {
                return Reply { status: StatusCode::OK, content_type: TEXT, body: "ready\n".to_owned() };
            }
            let body = reasons.iter().map(|reason| format!("{reason}\n")).collect();
            Reply { status: StatusCode::SERVICE_UNAVAILABLE, content_type: TEXT, body }
        }
    }
}

/// The answer where looking took too long.
#[must_use]
pub fn too_slow() -> Reply {
    let body = "the answer did not come in time: the disk or the servers are stuck\n".to_owned();
    Reply { status: StatusCode::SERVICE_UNAVAILABLE, content_type: TEXT, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Board;

    #[test]
    fn paths_are_told_apart() {
        assert_eq!(route(&Method::GET, "/metrics"), Asked::Metrics);
        assert_eq!(route(&Method::HEAD, "/readyz"), Asked::Readiness);
        for (method, path, status) in [
            (Method::GET, "/", 200),
            (Method::GET, "/healthz", 200),
            (Method::GET, "/healthz/", 404),
            (Method::GET, "/../etc/passwd", 404),
            (Method::POST, "/metrics", 405),
            (Method::DELETE, "/", 405),
        ] {
            let Asked::Now(answered, _) = route(&method, path) else { panic!("{method} {path}") };
            assert_eq!(answered.as_u16(), status, "{method} {path}");
        }
    }

    #[test]
    fn a_process_without_servers_is_ready_and_counts_itself() {
        let board = Board::new();
        assert_eq!(answer(Asked::Readiness, &board).status, StatusCode::OK);
        let metrics = answer(Asked::Metrics, &board).body;
        assert!(metrics.contains("\nprocess_cpu_seconds_total "), "{metrics}");
    }

    #[cfg(all(feature = "broker", feature = "keeper"))]
    #[test]
    fn servers_that_are_expected_are_not_ready_before_they_are() {
        let mut board = Board::new();
        let (_monitor, _place) = (board.expect_broker(), board.expect_keeper());
        let reply = answer(Asked::Readiness, &board);
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(reply.body, "the keeper is recovering its log\nthe broker is not running\n");
        assert!(answer(Asked::Metrics, &board).body.contains("\nkafka_server_kafkaserver_brokerstate 0\n"));
    }
}
