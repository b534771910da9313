//! A streaming job's pages, on the port where Spark has its own: 127.0.0.1:4040, or the next free one.
//!
//! Spark's keys: `spark.ui.enabled`, `spark.ui.port`, `spark.port.maxRetries`, `spark.metrics.namespace`. A job without a port goes on: it has its work to do.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use streaming::{StreamingContext, StreamingContextState};

use crate::Console;
use crate::exposition::Exposition;
use crate::metrics::process::{self, Process};
use crate::metrics::streaming::{Names, Progress, write};
use crate::routes::Shown;

/// The first of all ports that may be had without being root: a range that goes beyond the last begins here again.
const PORT_MIN: u16 = 1024;

/// Where a job shows itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `spark.ui.enabled`.
    pub enabled: bool,
    /// `spark.ui.port`; 0 takes any.
    pub port: u16,
    /// `spark.port.maxRetries`: ports after the first that are tried.
    pub retries_max: u16,
    /// `spark.metrics.namespace`: what the metrics' names begin with; the id of the application where there is none.
    pub namespace: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { enabled: true, port: 4040, retries_max: 16, namespace: None }
    }
}

impl Settings {
    /// Reads Spark's properties.
    ///
    /// # Errors
    /// A value that makes no sense, in Spark's words.
    pub fn of(conf: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        fn parsed<T: std::str::FromStr>(
            key: &str,
            value: Option<String>,
            otherwise: T,
            kind: &str,
        ) -> Result<T, String> {
            let Some(value) = value else { return Ok(otherwise) };
            value.trim().parse().map_err(|_| format!("{key} should be {kind}, but was {value}"))
        }
        let default = Settings::default();
        let number = |key: &str, otherwise| parsed(key, conf(key), otherwise, "int");
        Ok(Settings {
            enabled: parsed("spark.ui.enabled", conf("spark.ui.enabled"), default.enabled, "boolean")?,
            port: number("spark.ui.port", default.port)?,
            retries_max: number("spark.port.maxRetries", default.retries_max)?,
            namespace: conf("spark.metrics.namespace").filter(|namespace| !namespace.is_empty()),
        })
    }

    /// The ports to try, in this order.
    fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        let (first, any) = (self.port, self.port == 0);
        (0..=self.retries_max).map(move |offset| match any {
            true => 0,
            // Only retries wrap: the first is taken as it was said.
            false => first.checked_add(offset).unwrap_or_else(|| PORT_MIN + (offset - (u16::MAX - first) - 1)),
        })
    }
}

/// A job that shows itself. Dropping it closes the port.
#[derive(Debug)]
pub struct JobUi {
    console: Console,
}

struct Job {
    process: Process,
    names: Names,
    progress: Arc<Progress>,
    context: StreamingContext,
}

impl JobUi {
    /// Shows a job that has not started, so that nothing of it is missed. Nothing where that is switched off, or where no port could be had, which is said on
    /// stderr as Spark says it.
    #[must_use]
    pub fn serve(context: &StreamingContext, settings: &Settings, application_id: &str) -> Option<JobUi> {
        if !settings.enabled {
            return None;
        }
        let progress = Arc::new(Progress::default());
        context.add_streaming_listener(progress.clone());
        let namespace = settings.namespace.as_deref().unwrap_or(application_id);
        let names = Names::new(namespace, context.spark_context().app_name());
        let job: Arc<dyn Shown> = Arc::new(Job { process: Process::new(), names, progress, context: context.clone() });
        JobUi::bind(&job, settings)
    }

    #[allow(clippy::print_stderr, reason = "a warning to the user of the program, who may have no log")]
    fn bind(job: &Arc<dyn Shown>, settings: &Settings) -> Option<JobUi> {
        let mut ports = settings.ports().peekable();
        while let Some(port) = ports.next() {
            match Console::start_sharing(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), job.clone()) {
                Ok(console) => return Some(JobUi { console }),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    if let Some(next) = ports.peek() {
                        eprintln!("warn: Service 'SparkUI' could not bind on port {port}. Attempting port {next}.");
                    }
                }
                Err(error) => {
                    eprintln!("warn: Failed to bind SparkUI on port {port}: {error}; the job goes on without it");
                    return None;
                }
            }
        }
        eprintln!(
            "warn: Address already in use: Service 'SparkUI' failed after {} retries (starting from {})! Consider explicitly setting the appropriate port for the service 'SparkUI' (for example spark.ui.port for SparkUI) to an available port or increasing spark.port.maxRetries. The job goes on without it.",
            settings.retries_max, settings.port
        );
        None
    }

    /// Where it answers, as `SparkContext.uiWebUrl` says.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.console.address())
    }
}

impl Shown for Job {
    fn metrics(&self) -> String {
        let mut out = Exposition::default();
        process::write(&mut out, &self.process);
        process::write_ready(&mut out, self.reasons().is_empty());
        write(&mut out, &self.names, &self.progress.seen());
        out.finish()
    }

    fn reasons(&self) -> Vec<String> {
        match self.context.state() {
            StreamingContextState::Initialized => vec!["the streaming context has not started yet".to_owned()],
            StreamingContextState::Active => Vec::new(),
            StreamingContextState::Stopped => vec!["the streaming context has stopped".to_owned()],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use streaming::{RddQueue, SparkContext};

    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::of(|key| pairs.iter().find(|(known, _)| *known == key).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn sparks_keys_are_read() {
        assert_eq!(of(&[]), Ok(Settings::default()));
        assert_eq!(
            of(&[("spark.ui.port", "4100"), ("spark.port.maxRetries", "2"), ("spark.metrics.namespace", "words")]),
            Ok(Settings { port: 4100, retries_max: 2, namespace: Some("words".to_owned()), ..Settings::default() })
        );
        assert_eq!(of(&[("spark.ui.enabled", "false")]).map(|settings| settings.enabled), Ok(false));
        for (key, value, expected) in [
            ("spark.ui.port", "many", "spark.ui.port should be int, but was many"),
            ("spark.ui.port", "70000", "spark.ui.port should be int, but was 70000"),
            ("spark.ui.enabled", "yes", "spark.ui.enabled should be boolean, but was yes"),
        ] {
            assert_eq!(of(&[(key, value)]), Err(expected.to_owned()));
        }
    }

    #[test]
    fn ports_follow_each_other_and_stay_ports() {
        let ports =
            |port, retries_max| Settings { port, retries_max, ..Settings::default() }.ports().collect::<Vec<_>>();
        assert_eq!(ports(4040, 2), [4040, 4041, 4042]);
        assert_eq!(ports(0, 1), [0, 0]);
        assert_eq!(ports(u16::MAX, 2), [u16::MAX, PORT_MIN, PORT_MIN + 1]);
        // From 4040 to the last port, and then up from the first.
        assert_eq!(ports(4040, u16::MAX).last(), Some(&(PORT_MIN + 4039)));
    }

    fn job() -> StreamingContext {
        let sc = SparkContext::new("local[1]", "A job").unwrap();
        let ssc = StreamingContext::new(&sc, Duration::from_millis(20)).unwrap();
        ssc.queue_stream(RddQueue::new(vec![sc.parallelize(vec![1, 2, 3], 1)]), true, None)
            .foreach_rdd(|rdd, _| Ok(rdd.count().map(drop)?));
        ssc
    }

    #[test]
    fn a_job_takes_the_next_free_port_and_goes_on_where_none_is_left() {
        let held = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let ssc = job();
        let settings = Settings { port, retries_max: 0, ..Settings::default() };
        assert!(JobUi::serve(&ssc, &settings, "local-1").is_none());
        let served = JobUi::serve(&ssc, &Settings { retries_max: 16, ..settings.clone() }, "local-1").unwrap();
        assert_ne!(served.url(), format!("http://127.0.0.1:{port}"));
        assert!(JobUi::serve(&ssc, &Settings { enabled: false, ..settings }, "local-1").is_none());
    }

    #[test]
    fn what_a_job_did_is_told() {
        let ssc = job();
        let progress = Arc::new(Progress::default());
        ssc.add_streaming_listener(progress.clone());
        let names = Names::new("local-1", "A job");
        let job = Job { process: Process::new(), names, progress: progress.clone(), context: ssc.clone() };
        let value = |name: &str| {
            let line =
                format!("metrics_local_1_driver_A_job_StreamingMetrics_streaming_{name}_Value{{type=\"gauges\"}} ");
            let text = job.metrics();
            let value =
                text.lines().find_map(|told| told.strip_prefix(&line)).map(|value| value.parse::<f64>().unwrap());
            value.unwrap_or_else(|| panic!("no {line} in {text}"))
        };
        assert_eq!(job.reasons(), ["the streaming context has not started yet"]);
        assert_eq!(value("lastCompletedBatch_processingDelay"), -1.0);
        ssc.start().unwrap();
        assert!(job.reasons().is_empty());
        assert!(ssc.await_batches(2, Duration::from_secs(60)));
        ssc.stop(true);
        assert_eq!(job.reasons(), ["the streaming context has stopped"]);
        assert!(value("totalCompletedBatches") >= 2.0);
        assert_eq!((value("waitingBatches"), value("runningBatches"), value("unprocessedBatches")), (0.0, 0.0, 0.0));
        assert!(value("lastCompletedBatch_totalDelay") >= value("lastCompletedBatch_processingDelay"));
        assert_eq!(value("lastReceivedBatch_submissionTime"), value("lastCompletedBatch_submissionTime"));
    }
}
