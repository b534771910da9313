//! Byte streams between hosts: how the bytes of a connection get from one end to the other, and how connections break.
//!
//! What is always true: the bytes of one direction come in order and once; nothing comes behind an end or a reset. Between that there is everything a network does to TCP: pieces are
//! cut anywhere and come late, a direction stands still for a while, a cut link holds back what it is given, and a connection ends in the middle of what was sent.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use runtime::sim_stream::FarEnd;

use super::chance::Chance;
use super::network::{Network, Node};

/// After how long TCP sends again what was lost, in ms.
const RETRANSMISSION_MS: (u64, u64) = (200, 1_200);
/// After how many bytes a connection breaks by itself, if it does.
const FRAGILE_BYTES_MAX: u64 = 6_000;
/// Parts into which one piece is cut at most.
const PARTS_MAX: u64 = 4;

/// One connection: who made it, and whom it was made to.
pub struct Stream {
    ends: [End; 2],
    directions: [Direction; 2],
}

/// One end of a connection.
#[derive(Default)]
pub struct End {
    /// Whose it is.
    pub node: Node,
    /// The host's end; none where the host has no such thing (ZooKeeper), or is gone.
    pub far: Option<FarEnd>,
    /// It was told that no more comes.
    is_over: bool,
}

/// One direction of a connection.
#[derive(Default)]
struct Direction {
    /// When the last piece arrives.
    last: Duration,
    /// What a cut link holds back.
    held: VecDeque<Piece>,
    /// Nothing that is sent now arrives before.
    still_until: Duration,
    /// After so many more bytes the connection breaks.
    breaks_after: Option<u64>,
    /// Nothing more is taken.
    is_silent: bool,
    /// What is still on its way is lost.
    is_lost: bool,
}

/// A piece of a connection.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Bytes.
    Bytes(Bytes),
    /// No more will come.
    End,
    /// The connection is no more.
    Reset,
}

/// Which way a piece goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From who made the connection to whom it was made to.
    Up,
    /// Back.
    Down,
}

/// What becomes of a piece that is sent.
#[derive(Default)]
pub struct Sending {
    /// When what arrives; nothing yet where a link has to heal first.
    pub arrivals: Vec<(Duration, Piece)>,
    /// The connection breaks with it: its sender will hear of it, too.
    pub breaks: bool,
}

/// All connections of a world, by number.
#[derive(Default)]
pub struct Streams {
    streams: BTreeMap<u64, Stream>,
    opened: u64,
}

impl Way {
    /// The end that sends.
    #[must_use]
    pub fn from(self) -> usize {
        self as usize
    }

    /// The end that receives.
    #[must_use]
    pub fn to(self) -> usize {
        1 - self as usize
    }

    /// The way on which an end sends.
    #[must_use]
    pub fn of_end(end: usize) -> Way {
        if end == 0 { Way::Up } else { Way::Down }
    }
}

impl Piece {
    /// A number for the run's digest.
    #[must_use]
    pub fn digest(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::End => u64::MAX,
            Piece::Reset => u64::MAX - 1,
        }
    }
}

impl Stream {
    /// The ends: who made it, and whom it was made to.
    #[must_use]
    pub fn end(&self, end: usize) -> &End {
        &self.ends[end]
    }

    /// Which of the ends is a host's.
    #[must_use]
    pub fn end_of(&self, node: Node) -> Option<usize> {
        self.ends.iter().position(|end| end.node == node)
    }

    /// Whether what is on its way in a direction is lost.
    #[must_use]
    pub fn is_lost(&self, way: Way) -> bool {
        self.directions[way as usize].is_lost
    }
}

impl Streams {
    /// A connection that is open.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Stream> {
        self.streams.get(&number)
    }

    /// The connections with an end at a host, and which end that is.
    #[must_use]
    pub fn of(&self, node: Node) -> Vec<(u64, usize)> {
        self.streams.iter().filter_map(|(number, stream)| Some((*number, stream.end_of(node)?))).collect()
    }

    /// The connections between two sets of hosts.
    #[must_use]
    pub fn between(&self, one: impl Fn(Node) -> bool, other: impl Fn(Node) -> bool) -> Vec<u64> {
        let joins = |stream: &Stream| {
            let [first, second] = [stream.ends[0].node, stream.ends[1].node];
            (one(first) && other(second)) || (one(second) && other(first))
        };
        self.streams.iter().filter(|(_, stream)| joins(stream)).map(|(number, _)| *number).collect()
    }

    /// The host of an end is gone. `silent`: without a word, and what was on its way to it or held back is gone with it.
    pub fn abandon(&mut self, number: u64, end: usize, silent: bool) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        stream.ends[end].far = None;
        stream.directions[Way::of_end(end) as usize].is_silent = true;
        if silent {
            for direction in &mut stream.directions {
                direction.is_silent = true;
                direction.held.clear();
            }
        }
    }

    /// An end was told that no more comes, or that the connection is no more.
    pub fn over(&mut self, number: u64, end: usize, reset: bool) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        stream.ends[end].is_over = true;
        if reset {
            stream.directions[Way::of_end(end) as usize].is_silent = true;
        }
        if stream.ends.iter().all(|end| end.is_over || end.far.is_none()) {
            self.streams.remove(&number);
        }
    }

    /// A connection breaks in the middle: what is on its way is lost.
    pub fn break_off(&mut self, number: u64) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        for direction in &mut stream.directions {
            direction.is_silent = true;
            direction.is_lost = true;
            direction.held.clear();
        }
    }

    /// What is sent in a direction from now on arrives no sooner than at `until`.
    pub fn stand_still(&mut self, number: u64, way: Way, until: Duration) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.directions[way as usize].still_until = until;
        }
    }

    /// A direction breaks once so many more bytes were sent.
    pub fn break_after(&mut self, number: u64, way: Way, bytes: u64) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.directions[way as usize].breaks_after.get_or_insert(bytes);
        }
    }
}

/// The network moves streams.
impl Network {
    /// Opens a connection between two hosts; `far` makes the hosts' ends of its number and that of the end.
    pub fn open(
        &mut self,
        chance: &mut Chance,
        nodes: [Node; 2],
        mut far: impl FnMut(u64, usize) -> Option<FarEnd>,
    ) -> u64 {
        let streams = &mut self.streams;
        streams.opened += 1;
        let number = streams.opened;
        let ends = [0, 1].map(|end| End { node: nodes[end], far: far(number, end), is_over: false });
        let mut directions: [Direction; 2] = Default::default();
        if self.weather.fragile_permille > 0 && chance.permille(self.weather.fragile_permille) {
            let way = chance.below(2) as usize;
            directions[way].breaks_after = Some(chance.below(FRAGILE_BYTES_MAX));
        }
        streams.streams.insert(number, Stream { ends, directions });
        number
    }

    /// Sends a piece.
    pub fn send(&mut self, chance: &mut Chance, number: u64, way: Way, piece: Piece, now: Duration) -> Sending {
        let mut delay = self.delay(chance);
        let weather = &self.weather;
        if weather.retransmits && chance.permille(weather.lost_permille) {
            delay += chance.ms(RETRANSMISSION_MS.0, RETRANSMISSION_MS.1);
        }
        let mut sending = Sending::default();
        let Some(stream) = self.streams.streams.get_mut(&number) else { return sending };
        let link = (stream.ends[way.from()].node, stream.ends[way.to()].node);
        let direction = &mut stream.directions[way as usize];
        if direction.is_silent {
            return sending;
        }
        if self.cut.contains(&link) || !direction.held.is_empty() {
            direction.held.push_back(piece);
            return sending;
        }
        direction.last = direction.last.max(now + delay).max(direction.still_until);
        let Piece::Bytes(mut bytes) = piece else {
            direction.is_silent = true;
            sending.arrivals.push((direction.last, piece));
            return sending;
        };
        let breaks = direction.breaks_after.is_some_and(|after| after < bytes.len() as u64);
        if let Some(after) = &mut direction.breaks_after {
            bytes.truncate(*after as usize);
            *after -= bytes.len() as u64;
        }
        if weather.split_permille > 0 && chance.permille(weather.split_permille) {
            for _ in 1..chance.between(2, PARTS_MAX) {
                if bytes.len() > 1 {
                    let part = bytes.split_to(chance.between(1, bytes.len() as u64 - 1) as usize);
                    sending.arrivals.push((direction.last, Piece::Bytes(part)));
                    direction.last += Duration::from_micros(chance.between(1, 20_000));
                }
            }
        }
        if !bytes.is_empty() {
            sending.arrivals.push((direction.last, Piece::Bytes(bytes)));
        }
        if breaks {
            direction.is_silent = true;
            let end = if chance.permille(500) { Piece::End } else { Piece::Reset };
            sending.arrivals.push((direction.last, end));
            sending.breaks = true;
        }
        sending
    }

    /// What was held back and can go on now.
    pub fn take_released(&mut self) -> Vec<(u64, Way, Piece)> {
        let mut released = Vec::new();
        for (number, stream) in &mut self.streams.streams {
            for way in [Way::Up, Way::Down] {
                let link = (stream.ends[way.from()].node, stream.ends[way.to()].node);
                if !self.cut.contains(&link) {
                    let direction = &mut stream.directions[way as usize];
                    if !direction.held.is_empty() {
                        // Whoever sent it may be gone by now.
                        direction.is_silent = false;
                    }
                    released.extend(direction.held.drain(..).map(|piece| (*number, way, piece)));
                }
            }
        }
        released
    }
}

/// What a program hears of a connection that was broken off.
pub const BROKEN: io::ErrorKind = io::ErrorKind::ConnectionReset;
