//! What was measured, as a markdown table: a row for each kind of load and server, medians over the rounds.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Server;

/// What a load took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    pub server_cpu_s: f64,
    pub load_cpu_s: f64,
}

/// One measurement.
#[derive(Debug, Clone)]
pub struct Sample {
    server: String,
    title: String,
    operations: usize,
    errors: u64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    rss_mib: f64,
    cost: Cost,
}

impl Sample {
    /// Of operations that were timed one by one.
    pub fn new(server: &Server, title: String, mut latencies: Vec<Duration>, errors: u64, cost: Cost) -> Sample {
        latencies.sort_unstable();
        let part = |part: f64| {
            let at = ((latencies.len().max(1) - 1) as f64 * part) as usize;
            latencies.get(at).map(|latency| latency.as_secs_f64() * 1e6)
        };
        Sample {
            server: server.name.clone(),
            title,
            operations: latencies.len(),
            errors,
            p50_us: part(0.5),
            p99_us: part(0.99),
            rss_mib: server.process.rss_mib(),
            cost,
        }
    }

    /// Of operations that were only timed together.
    pub fn of_batch(server: &Server, title: String, operations: usize, errors: u64, cost: Cost) -> Sample {
        let rss_mib = server.process.rss_mib();
        Sample { server: server.name.clone(), title, operations, errors, p50_us: None, p99_us: None, rss_mib, cost }
    }

    fn per_second(&self) -> f64 {
        self.operations as f64 / self.cost.wall.as_secs_f64()
    }

    fn server_cpu_per_100k(&self) -> f64 {
        self.cost.server_cpu_s / self.operations.max(1) as f64 * 1e5
    }

    /// How busy the load's one thread was.
    fn load_share(&self) -> f64 {
        100.0 * self.cost.load_cpu_s / self.cost.wall.as_secs_f64()
    }
}

/// The table; ratios are to the first server.
pub fn render(servers: &[&str], samples: &[Sample]) -> String {
    let mut titles: Vec<&str> = Vec::new();
    for sample in samples {
        if !titles.contains(&sample.title.as_str()) {
            titles.push(&sample.title);
        }
    }
    let mut text = String::from(
        "| load | server | operations/s | x | p50 µs | p99 µs | server CPU s per 100k | x | RSS MiB | load's CPU | errors |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for title in titles {
        let mut first: Option<(f64, f64)> = None;
        for server in servers {
            let of_both = |sample: &&Sample| sample.title == title && sample.server == *server;
            let rounds: Vec<&Sample> = samples.iter().filter(of_both).collect();
            if rounds.is_empty() {
                continue;
            }
            let of = |value: fn(&Sample) -> f64| median(rounds.iter().map(|sample| value(sample)));
            let timed = |value: fn(&Sample) -> Option<f64>| {
                let known: Vec<f64> = rounds.iter().filter_map(|sample| value(sample)).collect();
                if known.is_empty() { "".to_owned() } else { format!("{:.0}", median(known.into_iter())) }
            };
            let (speed, cpu) = (of(Sample::per_second), of(Sample::server_cpu_per_100k));
            let (speed_of_first, cpu_of_first) = *first.get_or_insert((speed, cpu));
            let errors: u64 = rounds.iter().map(|sample| sample.errors).sum();
            let _ = writeln!(
                text,
                "| {title} | {server} | {} | {:.2} | {} | {} | {cpu:.2} | {:.2} | {:.0} | {:.0} % | {errors} |",
                thousands(speed),
                speed / speed_of_first,
                timed(|sample| sample.p50_us),
                timed(|sample| sample.p99_us),
                cpu / cpu_of_first,
                of(|sample| sample.rss_mib),
                of(Sample::load_share),
            );
        }
    }
    text
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[count / 2],
        count => (values[count / 2 - 1] + values[count / 2]) / 2.0,
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
