//! What a Kafka controller does on these znodes, and cheaper ways to do the same: creating and changing the states of many partitions, reading all.

use std::io;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::Server;
use crate::connection::{self, CREATE, Connection, GET_DATA, MULTI, MULTI_READ, SET_DATA};
use crate::process::Process;
use crate::table::{Cost, Sample};

const PARTITIONS_PER_TOPIC: usize = 100;

/// Kafka's own `zookeeper.max.in.flight.requests`.
const IN_FLIGHT_OF_KAFKA: usize = 10;

/// A check of the controller's epoch and a write, for each of `partitions` states; then the same in larger multis; then reading.
pub fn run(server: &Server, partitions: usize) -> io::Result<Vec<Sample>> {
    let mut work = Work { server, connection: Connection::open(&server.address)?, partitions, samples: Vec::new() };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let base = format!("/controller{now}");
    let epoch = format!("{base}/epoch");
    let plain = |path: &str| (CREATE, connection::create(path, b""));
    let checked = |writes: &[(i32, Vec<u8>)]| (MULTI, connection::multi(Some((&epoch, 0)), writes));

    let topics = partitions.div_ceil(PARTITIONS_PER_TOPIC);
    let partition = |number: usize| {
        format!("{base}/t{:05}/partitions/{}", number / PARTITIONS_PER_TOPIC, number % PARTITIONS_PER_TOPIC)
    };
    let mut parents = vec![plain(&base), plain(&epoch)];
    for topic in 0..topics {
        parents.push(plain(&format!("{base}/t{topic:05}")));
        parents.push(plain(&format!("{base}/t{topic:05}/partitions")));
    }
    parents.extend((0..partitions).map(|number| plain(&partition(number))));
    work.pipeline(&parents, 1000)?;

    let state = |epoch: usize| {
        format!("{{\"controller_epoch\":{epoch},\"leader\":1,\"version\":1,\"leader_epoch\":{epoch},\"isr\":[1,2,3]}}").into_bytes()
    };
    let states: Vec<String> = (0..partitions).map(|number| format!("{}/state", partition(number))).collect();
    let set = |path: &String, epoch: usize| (SET_DATA, connection::set_data(path, &state(epoch)));

    let requests: Vec<_> = states.iter().map(|path| checked(&[(CREATE, connection::create(path, &state(1)))])).collect();
    work.measure("create the states of {}: check and create each, 10 in flight (Kafka)", &requests, IN_FLIGHT_OF_KAFKA)?;
    let requests: Vec<_> = states.iter().map(|path| checked(&[set(path, 2)])).collect();
    work.measure("change the states of {}: check and set each, 10 in flight (Kafka)", &requests, IN_FLIGHT_OF_KAFKA)?;
    let requests: Vec<_> = states
        .chunks(1000)
        .map(|paths| checked(&paths.iter().map(|path| set(path, 3)).collect::<Vec<_>>()))
        .collect();
    work.measure("the same as multis of 1,000 (Tidemill)", &requests, IN_FLIGHT_OF_KAFKA)?;
    let requests: Vec<_> = states.iter().map(|path| (GET_DATA, connection::get_data(path, false))).collect();
    work.measure("read the states of {}: getData each, 10 in flight (Kafka)", &requests, IN_FLIGHT_OF_KAFKA)?;
    let requests: Vec<_> = states
        .chunks(100)
        .map(|paths| {
            let reads: Vec<_> = paths.iter().map(|path| (GET_DATA, connection::get_data(path, false))).collect();
            (MULTI_READ, connection::multi(None, &reads))
        })
        .collect();
    work.measure("the same as multiReads of 100 (Tidemill)", &requests, IN_FLIGHT_OF_KAFKA)?;
    Ok(work.samples)
}

struct Work<'a> {
    server: &'a Server,
    connection: Connection,
    partitions: usize,
    samples: Vec<Sample>,
}

impl Work<'_> {
    /// Sends all requests with so many outstanding; returns how many failed.
    fn pipeline(&mut self, requests: &[(i32, Vec<u8>)], in_flight: usize) -> io::Result<u64> {
        let connection = &mut self.connection;
        let (mut next, mut errors) = (requests.iter(), 0);
        let mut replied = 0;
        while replied < requests.len() {
            while connection.outstanding() < in_flight && !connection.is_full() {
                let Some((op, body)) = next.next() else { break };
                connection.ask(*op, body);
            }
            connection.write_out()?;
            loop {
                let reply = connection.reply()?;
                let is_multi = requests[replied].0 == MULTI;
                errors += u64::from(reply.error != 0 || (is_multi && connection::multi_failed(&reply)));
                replied += 1;
                if connection.outstanding() == 0 || !connection.has_buffered() {
                    break;
                }
            }
        }
        Ok(errors)
    }

    /// A row of the table: an operation is a partition.
    fn measure(&mut self, title: &str, requests: &[(i32, Vec<u8>)], in_flight: usize) -> io::Result<()> {
        let title = title.replace("{}", &format!("{} partitions", self.partitions));
        let (cpu, own, started) = (self.server.process.cpu_s(), Process::own().cpu_s(), Instant::now());
        let errors = self.pipeline(requests, in_flight)?;
        let cost = Cost {
            wall: started.elapsed(),
            server_cpu_s: self.server.process.cpu_s() - cpu,
            load_cpu_s: Process::own().cpu_s() - own,
        };
        self.samples.push(Sample::of_batch(self.server, title, self.partitions, errors, cost));
        Ok(())
    }
}
