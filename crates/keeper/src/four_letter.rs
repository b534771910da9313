//! The four-letter words: what operators type into `nc` (Administrator's Guide, "The Four Letter Words"). Texts have the shape that monitoring parses.

use std::fmt::Write as _;

use runtime::Clock;

use crate::processor::Processor;

/// What clients that ask for a version are told: the ZooKeeper whose behaviour this is, then who we are.
const VERSION: &str = concat!("3.8.0-tidemill-", env!("CARGO_PKG_VERSION"));

macro_rules! words {
    ($($variant:ident = $text:literal,)*) => {
        /// One of the words.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum FourLetterWord { $($variant,)* }

        impl FourLetterWord {
            /// The word, if these four bytes are one. As the length of a frame each would be beyond any limit.
            pub(crate) fn parse(bytes: [u8; 4]) -> Option<FourLetterWord> {
                $(if &bytes == $text { return Some(FourLetterWord::$variant); })*
                None
            }

            fn text(self) -> &'static str {
                match self { $(FourLetterWord::$variant => std::str::from_utf8($text).unwrap_or_default(),)* }
            }
        }
    };
}

words! {
    Conf = b"conf",
    Cons = b"cons",
    Crst = b"crst",
    Dirs = b"dirs",
    Dump = b"dump",
    Envi = b"envi",
    Isro = b"isro",
    Mntr = b"mntr",
    Ruok = b"ruok",
    Srst = b"srst",
    Srvr = b"srvr",
    Stat = b"stat",
    Wchc = b"wchc",
    Wchp = b"wchp",
    Wchs = b"wchs",
}

impl Processor {
    /// The answer to a word.
    pub(crate) fn answer(&mut self, word: FourLetterWord, clock: Clock) -> String {
        if let Some(allowed) = &self.config.four_letter_whitelist
            && !allowed.contains(word.text())
        {
            return format!("{} is not executed because it is not in the whitelist.\n", word.text());
        }
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = match word {
            // It begins as a probe wants it: a restart would make no room.
            FourLetterWord::Ruok if self.room.full => {
                write!(out, "imok, but no space is left in {}: writes are refused", self.config.log_dir().display())
            }
            FourLetterWord::Ruok => out.write_str("imok"),
            FourLetterWord::Isro => out.write_str(if self.room.full { "ro" } else { "rw" }),
            FourLetterWord::Srvr => self.write_server(&mut out, false),
            FourLetterWord::Stat => self.write_server(&mut out, true),
            FourLetterWord::Mntr => self.write_monitor(&mut out, clock),
            FourLetterWord::Conf => self.write_config(&mut out),
            FourLetterWord::Cons => self.write_connections(&mut out),
            FourLetterWord::Crst => {
                self.connections.values_mut().for_each(|connection| (connection.received, connection.sent) = (0, 0));
                out.write_str("Connection stats reset.\n")
            }
            FourLetterWord::Srst => {
                self.stats = Default::default();
                out.write_str("Server stats reset.\n")
            }
            FourLetterWord::Dirs => {
                writeln!(out, "datadir_size: {}\nlogdir_size: {}", self.tree.data_bytes(), self.log.bytes())
            }
            FourLetterWord::Dump => self.write_dump(&mut out),
            FourLetterWord::Envi => self.write_environment(&mut out),
            FourLetterWord::Wchs => {
                let (pairs, paths, connections) = self.watches.counts();
                writeln!(out, "{connections} connections watching {paths} paths\nTotal watches:{pairs}")
            }
            FourLetterWord::Wchc => self.write_watches_by_connection(&mut out),
            FourLetterWord::Wchp => self.write_watches_by_path(&mut out),
        };
        out
    }

    fn write_server(&self, out: &mut String, with_clients: bool) -> std::fmt::Result {
        writeln!(out, "Zookeeper version: {VERSION}, built on -")?;
        if with_clients {
            writeln!(out, "Clients:")?;
            for connection in self.by_number() {
                writeln!(
                    out,
                    " /{}[{}](queued={},recved={},sent={})",
                    connection.peer,
                    i32::from(connection.session != 0),
                    connection.outbox.queued_bytes(),
                    connection.received,
                    connection.sent
                )?;
            }
            writeln!(out)?;
        }
        let (min, mean, max) = self.stats.latency_ms();
        writeln!(out, "Latency min/avg/max: {min}/{mean:.4}/{max}")?;
        writeln!(out, "Received: {}\nSent: {}", self.stats.received, self.stats.sent)?;
        writeln!(out, "Connections: {}\nOutstanding: 0", self.connections.len())?;
        writeln!(out, "Zxid: 0x{:x}\nMode: {}\nNode count: {}", self.zxid, self.mode(), self.tree.node_count())
    }

    fn write_monitor(&self, out: &mut String, clock: Clock) -> std::fmt::Result {
        let (min, mean, max) = self.stats.latency_ms();
        let uptime_ms = clock.now().saturating_duration_since(self.started).as_millis();
        writeln!(out, "zk_version\t{VERSION}, built on -\nzk_server_state\t{}", self.mode())?;
        writeln!(out, "zk_avg_latency\t{mean:.4}\nzk_max_latency\t{max}\nzk_min_latency\t{min}")?;
        writeln!(out, "zk_packets_received\t{}\nzk_packets_sent\t{}", self.stats.received, self.stats.sent)?;
        writeln!(out, "zk_num_alive_connections\t{}\nzk_outstanding_requests\t0", self.connections.len())?;
        writeln!(out, "zk_znode_count\t{}\nzk_watch_count\t{}", self.tree.node_count(), self.watches.count())?;
        writeln!(out, "zk_ephemerals_count\t{}", self.tree.ephemeral_count())?;
        writeln!(out, "zk_approximate_data_size\t{}", self.tree.data_bytes())?;
        writeln!(out, "zk_global_sessions\t{}\nzk_local_sessions\t0", self.sessions.len())?;
        writeln!(out, "zk_uptime\t{uptime_ms}\nzk_disk_full\t{}", u8::from(self.room.full))
    }

    /// `read-only` is ZooKeeper's word for a server that answers reads alone.
    fn mode(&self) -> &'static str {
        if self.room.full { "read-only" } else { "standalone" }
    }

    fn write_config(&self, out: &mut String) -> std::fmt::Result {
        let config = &self.config;
        let (min, max) = config.session_timeouts_ms();
        writeln!(out, "clientPort={}", config.address.port())?;
        writeln!(out, "dataDir={}\ndataLogDir={}", config.data_dir.display(), config.log_dir().display())?;
        writeln!(out, "tickTime={}\nmaxClientCnxns={}", config.tick_time_ms, config.max_client_connections)?;
        writeln!(out, "minSessionTimeout={min}\nmaxSessionTimeout={max}\nserverId=0")
    }

    fn write_connections(&self, out: &mut String) -> std::fmt::Result {
        for connection in self.by_number() {
            write!(
                out,
                " /{}[{}](queued={},recved={},sent={}",
                connection.peer,
                i32::from(connection.session != 0),
                connection.outbox.queued_bytes(),
                connection.received,
                connection.sent
            )?;
            if let Some(session) = self.sessions.get(connection.session) {
                write!(
                    out,
                    ",sid=0x{:x},lop={},est={},to={}",
                    connection.session, connection.last_operation, connection.since_ms, session.timeout_ms
                )?;
            }
            writeln!(out, ")")?;
        }
        writeln!(out)
    }

    fn write_dump(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "SessionTracker dump:")?;
        writeln!(out, "Session Sets ({})/({}):", self.sessions.buckets().count(), self.sessions.len())?;
        for (expires_in_ms, ids) in self.sessions.buckets() {
            writeln!(out, "{} expire in {expires_in_ms} ms:", ids.len())?;
            for id in ids {
                writeln!(out, "\t0x{id:x}")?;
            }
        }
        let mut owners: Vec<_> = self.tree.ephemerals().collect();
        owners.sort_unstable();
        writeln!(out, "ephemeral nodes dump:\nSessions with Ephemerals ({}):", owners.len())?;
        for (session, paths) in owners {
            writeln!(out, "0x{session:x}:")?;
            for path in paths {
                writeln!(out, "\t{path}")?;
            }
        }
        let connected = self.by_number();
        writeln!(out, "Connections dump:\nConnections ({}):", connected.len())?;
        for connection in connected {
            writeln!(out, "\t/{} 0x{:x}", connection.peer, connection.session)?;
        }
        Ok(())
    }

    fn write_environment(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "Environment:\nzookeeper.version={VERSION}, built on -")?;
        writeln!(out, "os.name={}\nos.arch={}", std::env::consts::OS, std::env::consts::ARCH)
    }

    fn write_watches_by_connection(&self, out: &mut String) -> std::fmt::Result {
        for (connection, paths) in self.watches.by_connection() {
            writeln!(out, "0x{:x}", self.connections.get(&connection).map_or(0, |connection| connection.session))?;
            for path in paths {
                writeln!(out, "\t{path}")?;
            }
        }
        writeln!(out)
    }

    fn write_watches_by_path(&self, out: &mut String) -> std::fmt::Result {
        let mut by_path = std::collections::BTreeMap::<&str, Vec<i64>>::new();
        for (connection, paths) in self.watches.by_connection() {
            let session = self.connections.get(&connection).map_or(0, |connection| connection.session);
            for path in paths {
                by_path.entry(path).or_default().push(session);
            }
        }
        for (path, sessions) in by_path {
            writeln!(out, "{path}")?;
            for session in sessions {
                writeln!(out, "\t0x{session:x}")?;
            }
        }
        writeln!(out)
    }

    fn by_number(&self) -> Vec<&crate::processor::Connection> {
        let mut connections: Vec<_> = self.connections.iter().collect();
        connections.sort_unstable_by_key(|(id, _)| **id);
        connections.into_iter().map(|(_, connection)| connection).collect()
    }
}
