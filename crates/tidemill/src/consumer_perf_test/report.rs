//! What was read, and Kafka's lines about it: a summary at the end, or with `--show-detailed-stats` a line for each interval.

use std::io::Write as _;

use bytes::Bytes;
use client::kafka::FetchedBlock;
use runtime::Clock;

use super::options::{Interval, Options};
use crate::failure::Failure;
use crate::java_format::{DateFormat, Decimal};

const MIB: f64 = 1024.0 * 1024.0;

/// Whose lines are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// 0.9's: six columns.
    Old,
    /// Those since 2.0: four more, about rebalances.
    Today,
}

/// The first line.
pub fn header(style: Style, detailed: bool) -> &'static str {
    match (style, detailed) {
        (Style::Old, false) => "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec",
        // Its lines have a column more than it names: so they do in 0.9.
        (Style::Old, true) => "time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec",
        (Style::Today, false) => {
            "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
        }
        (Style::Today, true) => {
            "time, threadId, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec"
        }
    }
}

/// Prints a line at once.
///
/// # Errors
/// Where stdout is closed.
pub fn print(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Records and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count {
    records: u64,
    bytes: u64,
}

impl Count {
    fn mib(self) -> f64 {
        self.bytes as f64 / MIB
    }

    fn since(self, earlier: Count) -> Count {
        Count { records: self.records - earlier.records, bytes: self.bytes - earlier.bytes }
    }
}

/// Counts what is read and says when enough is.
pub struct Meter<'a> {
    options: &'a Options,
    clock: Clock,
    started_ms: i64,
    ended_ms: i64,
    all: Count,
    reported: Count,
    reported_ms: i64,
    has_reported: bool,
    last_record_ms: i64,
    timed_out: bool,
}

impl<'a> Meter<'a> {
    /// Begins to measure now.
    pub fn new(options: &'a Options, clock: Clock) -> Meter<'a> {
        let now_ms = clock.now_ms();
        Meter {
            options,
            clock,
            started_ms: now_ms,
            ended_ms: now_ms,
            all: Count::default(),
            reported: Count::default(),
            reported_ms: now_ms,
            has_reported: false,
            last_record_ms: now_ms,
            timed_out: false,
        }
    }

    /// Whether as many were read as were wished for, or none came for too long.
    pub fn is_done(&mut self) -> bool {
        self.timed_out = self.clock.now_ms() - self.last_record_ms > self.options.timeout_ms;
        self.all.records >= self.options.messages || self.timed_out
    }

    /// What went by was not a wait for records.
    pub fn go_on_waiting(&mut self) {
        self.last_record_ms = self.clock.now_ms();
    }

    /// Whether the last count ended an interval.
    pub fn has_reported(&self) -> bool {
        self.has_reported
    }

    /// Counts what a poll has brought, and tells the intervals that end in it. `join_ms`: time of rebalances since the last one.
    ///
    /// # Errors
    /// Records that cannot be read; a closed stdout.
    pub fn count(&mut self, blocks: &[FetchedBlock], join_ms: i64) -> Result<(), Failure> {
        self.has_reported = false;
        let now_ms = self.clock.now_ms();
        for block in blocks {
            for record in block.records() {
                // What has come beyond the wish is not looked at, so it does not count.
                if self.all.records >= self.options.messages {
                    return Ok(());
                }
                let record = record.map_err(Failure::from)?;
                let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len) as u64;
                self.all.records += 1;
                self.all.bytes += length(&record.key) + length(&record.value);
                self.last_record_ms = now_ms;
                let ends = match self.options.interval {
                    Interval::Records(every) => self.all.records.is_multiple_of(every),
                    Interval::Milliseconds(every) => now_ms - self.reported_ms >= every,
                };
                if ends {
                    self.report(join_ms)?;
                }
            }
        }
        Ok(())
    }

    fn report(&mut self, join_ms: i64) -> Result<(), Failure> {
        let now_ms = self.clock.now_ms();
        if self.options.show_detailed_stats {
            print(&self.progress(self.reported, self.reported_ms, now_ms, join_ms))?;
        }
        (self.reported, self.reported_ms, self.has_reported) = (self.all, now_ms, true);
        Ok(())
    }

    fn progress(&self, before: Count, from_ms: i64, to_ms: i64, join_ms: i64) -> String {
        progress_line(&self.options.date_format, self.options.style, self.all, before, from_ms, to_ms, join_ms)
    }

    /// The measurement is over.
    pub fn stop(&mut self) {
        self.ended_ms = self.clock.now_ms();
        if self.timed_out && self.options.style == Style::Old && self.options.ends_without_its_timeout {
            // 0.9's old consumer takes the wait for the record that did not come off.
            self.ended_ms = (self.ended_ms - self.options.timeout_ms).max(self.started_ms);
        }
    }

    /// The last lines.
    ///
    /// # Errors
    /// A closed stdout.
    pub fn print_end(&self, join_ms: i64, was_interrupted: bool) -> Result<(), Failure> {
        let options = self.options;
        if options.style == Style::Today && !was_interrupted && self.all.records < options.messages {
            print(&format!(
                "WARNING: Exiting before consuming the expected number of messages: timeout ({} ms) exceeded. You can use the --timeout option to increase the timeout.",
                options.timeout_ms
            ))?;
        }
        if options.show_detailed_stats {
            if options.ends_without_its_timeout {
                // A thread of 0.9's old consumer tells its rest over the whole of its time.
                print(&self.progress(self.reported, self.started_ms, self.clock.now_ms(), join_ms))?;
            }
            return Ok(());
        }
        let summary =
            summary_line(&options.date_format, options.style, self.all, self.started_ms, self.ended_ms, join_ms);
        Ok(print(&summary)?)
    }
}

fn summary_line(dates: &DateFormat, style: Style, all: Count, from_ms: i64, to_ms: i64, join_ms: i64) -> String {
    let elapsed_s = (to_ms - from_ms) as f64 / 1000.0;
    let mut line = format!(
        "{}, {}, {}, {}, {}, {}",
        dates.format(from_ms),
        dates.format(to_ms),
        Decimal(all.mib(), 4),
        Decimal(all.mib() / elapsed_s, 4),
        all.records,
        Decimal(all.records as f64 / elapsed_s, 4)
    );
    if style == Style::Today {
        let fetch_ms = to_ms - from_ms - join_ms;
        let fetch_s = fetch_ms as f64 / 1000.0;
        line.push_str(&format!(
            ", {join_ms}, {fetch_ms}, {}, {}",
            Decimal(all.mib() / fetch_s, 4),
            Decimal(all.records as f64 / fetch_s, 4)
        ));
    }
    line
}

fn progress_line(
    dates: &DateFormat,
    style: Style,
    all: Count,
    before: Count,
    from_ms: i64,
    to_ms: i64,
    join_ms: i64,
) -> String {
    let (elapsed_ms, now) = ((to_ms - from_ms) as f64, all.since(before));
    let mut line = format!(
        "{}, 0, {}, {}, {}, {}",
        dates.format(to_ms),
        Decimal(all.mib(), 4),
        Decimal(1000.0 * (now.mib() / elapsed_ms), 4),
        all.records,
        Decimal(now.records as f64 / elapsed_ms * 1000.0, 4)
    );
    if style == Style::Today {
        let fetch_ms = to_ms - from_ms - join_ms;
        let per_second = |amount: f64| if fetch_ms <= 0 { 0.0 } else { 1000.0 * amount / fetch_ms as f64 };
        line.push_str(&format!(
            ", {join_ms}, {fetch_ms}, {}, {}",
            Decimal(per_second(now.mib()), 4),
            Decimal(per_second(now.records as f64), 4)
        ));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB_10: Count = Count { records: 100_000, bytes: 10 << 20 };

    #[test]
    fn the_summary_is_kafkas() {
        let dates = DateFormat::parse("SSS").unwrap();
        assert_eq!(
            summary_line(&dates, Style::Old, MIB_10, 1_000, 3_500, 0),
            "000, 500, 10.0000, 4.0000, 100000, 40000.0000"
        );
        assert_eq!(
            summary_line(&dates, Style::Today, MIB_10, 1_000, 3_500, 500),
            "000, 500, 10.0000, 4.0000, 100000, 40000.0000, 500, 2000, 5.0000, 50000.0000"
        );
        assert_eq!(
            summary_line(&dates, Style::Old, Count::default(), 0, 0, 0),
            "000, 000, 0.0000, NaN, 0, NaN",
            "nothing read in no time"
        );
    }

    #[test]
    fn a_line_of_an_interval_is_kafkas() {
        let dates = DateFormat::parse("SSS").unwrap();
        let before = Count { records: 50_000, bytes: 5 << 20 };
        assert_eq!(
            progress_line(&dates, Style::Old, MIB_10, before, 1_000, 2_000, 0),
            "000, 0, 10.0000, 5.0000, 100000, 50000.0000"
        );
        assert_eq!(
            progress_line(&dates, Style::Today, MIB_10, before, 1_000, 2_000, 500),
            "000, 0, 10.0000, 5.0000, 100000, 50000.0000, 500, 500, 10.0000, 100000.0000"
        );
        assert!(
            progress_line(&dates, Style::Today, MIB_10, before, 1_000, 2_000, 1_000)
                .ends_with(", 1000, 0, 0.0000, 0.0000")
        );
    }

    #[test]
    fn headers_name_as_many_columns_as_kafkas_do() {
        for (style, detailed, columns) in
            [(Style::Old, false, 6), (Style::Old, true, 5), (Style::Today, false, 10), (Style::Today, true, 10)]
        {
            assert_eq!(header(style, detailed).split(", ").count(), columns);
        }
    }
}
