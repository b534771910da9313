//! Puts the same load on several ZooKeeper servers in turn, in one run, and prints what each did per second and what it cost it.
//!
//! ```text
//! keeper-load [--secs 2] [--rounds 2] [--partitions 10000] [--phases set,get,...] NAME=HOST:PORT@PID ...
//! ```
//! The first server is the one the others are compared with. Rounds alternate between the servers, so that a noisy machine is noisy for all; the
//! table shows the medians. The load is raw sockets and one thread: what is measured is the server, and the last column tells when the load itself was
//! what saturated.
//!
//! # Layout
//! - `connection`: one client, its frames and its pipeline
//! - `phases`: the kinds of load
//! - `controller`: what a Kafka controller does with 10,000 partitions
//! - `process`: CPU time and memory of the servers
//! - `table`: medians, as a markdown table

mod connection;
mod controller;
mod phases;
mod process;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use phases::Phase;
use process::Process;
use table::Sample;

/// A server under load.
pub struct Server {
    pub name: String,
    pub address: String,
    pub process: Process,
}

struct Options {
    secs: f64,
    rounds: usize,
    partitions: usize,
    phases: Vec<Phase>,
    servers: Vec<Server>,
}

fn main() -> ExitCode {
    let options = match read_options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("error: {why}\nhelp: keeper-load [--secs N] [--rounds N] [--partitions N] [--phases A,B] NAME=HOST:PORT@PID ...");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(samples) => {
            let names: Vec<&str> = options.servers.iter().map(|server| server.name.as_str()).collect();
            print!("{}", table::render(&names, &samples));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::io::Result<Vec<Sample>> {
    let time = Duration::from_secs_f64(options.secs);
    for server in &options.servers {
        // A virtual machine compiles what it runs often.
        phases::warm_up(server, time)?;
    }
    let mut samples = Vec::new();
    for round in 1..=options.rounds {
        for phase in &options.phases {
            for server in &options.servers {
                eprintln!("round {round}: {} on {}", phase.name(), server.name);
                samples.extend(phases::run(*phase, server, time)?);
            }
        }
    }
    if options.partitions > 0 {
        for server in &options.servers {
            eprintln!("controller's work on {}", server.name);
            samples.extend(controller::run(server, options.partitions)?);
        }
    }
    Ok(samples)
}

fn read_options() -> Result<Options, String> {
    let mut options =
        Options { secs: 2.0, rounds: 2, partitions: 10_000, phases: Phase::ALL.to_vec(), servers: Vec::new() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} takes a value"));
        match word.as_str() {
            "--secs" => options.secs = number(&value()?)?,
            "--rounds" => options.rounds = number(&value()?)?,
            "--partitions" => options.partitions = number(&value()?)?,
            "--phases" => {
                let named = |name: &str| Phase::named(name).ok_or(format!("no phase is named {name}"));
                options.phases = value()?.split(',').map(named).collect::<Result<_, _>>()?;
            }
            server => options.servers.push(read_server(server)?),
        }
    }
    if options.servers.is_empty() { Err("no server is named".to_owned()) } else { Ok(options) }
}

fn read_server(word: &str) -> Result<Server, String> {
    let (name, rest) = word.split_once('=').ok_or(format!("{word} is not NAME=HOST:PORT@PID"))?;
    let (address, pid) = rest.split_once('@').ok_or(format!("{word} is not NAME=HOST:PORT@PID"))?;
    Ok(Server { name: name.to_owned(), address: address.to_owned(), process: Process { pid: number(pid)? } })
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is not a number"))
}
