//! Programs in a world: what they tell, and what must be true of it.

use std::time::Duration;

use runtime::Clock;

use super::super::history::{Violation, broken};
use super::super::network::Node;
use super::super::plan::Mischief;
use super::super::programs::{Kind, Seen};
use super::super::streams::{Piece, Way};
use super::super::take_panic;
use super::{Event, World};

/// How long a program that was killed or has ended stays away, in ms.
const RESTART_MS: (u64, u64) = (100, 3_000);
/// How often it is looked whether a call takes too long.
pub(super) const LOOK: Duration = Duration::from_millis(250);

impl World {
    /// The program of a host.
    pub(super) fn program_at(&self, node: Node) -> Option<usize> {
        node.checked_sub(self.plan.brokers + 1).filter(|program| *program < self.programs.len())
    }

    pub(super) fn start_program(&mut self, program: usize) -> Result<(), Violation> {
        if self.programs[program].is_running() {
            return Ok(());
        }
        let clock = Clock::Sim(self.time.clock(self.programs[program].node, 0));
        let seed = self.chance.u64();
        let World { programs, plan, is_busy, .. } = self;
        programs[program].start(clock, seed, plan, *is_busy);
        self.progress.retain(|(reader, _), _| *reader != program);
        self.say(|| format!("program {program} ({:?}) is started", self.programs[program].kind));
        self.run_program(program)
    }

    /// Kills a program. Somebody starts it again.
    pub fn kill_program(&mut self, program: usize) {
        if !self.programs[program].is_running() {
            return;
        }
        self.say(|| format!("program {program} is gone"));
        self.programs[program].kill();
        let node = self.programs[program].node;
        self.leave_streams(node, false);
        let pause = self.chance.ms(RESTART_MS.0, RESTART_MS.1);
        self.after(pause, Event::StartProgram(program));
    }

    /// Lets a program run until it waits.
    pub(super) fn run_program(&mut self, program: usize) -> Result<(), Violation> {
        let told = self.programs[program].run();
        if let Some(panicked) = take_panic() {
            return broken("no panic", format!("program {program}: {panicked}"));
        }
        let (node, life) = (self.programs[program].node, self.programs[program].life);
        let calls = self.programs[program].host().map(|host| host.take_calls()).unwrap_or_default();
        for call in calls {
            self.net_call(node, life, call);
        }
        for seen in told {
            self.hear_program(program, seen)?;
        }
        Ok(())
    }

    fn hear_program(&mut self, program: usize, seen: Seen) -> Result<(), Violation> {
        if !matches!(seen, Seen::Called(..) | Seen::Returned(_) | Seen::Read(..) | Seen::Sent(_)) {
            self.say(|| format!("program {program}: {seen:x?}"));
        }
        let now = self.now();
        let member = (program, self.programs[program].life);
        let keeps = self.plan.committed_survives();
        match seen {
            Seen::Called(number, name, limit) => {
                self.programs[program].calls.insert(number, (name, now + limit));
            }
            Seen::Returned(number) => {
                self.programs[program].calls.remove(&number);
            }
            Seen::Sent(value) => self.history.sent(value),
            Seen::Refused(value) => self.history.refused(value),
            Seen::Acknowledged(partition, Some(offset), value) => {
                self.history.acknowledge(partition, offset, &[value])?;
            }
            Seen::Acknowledged(partition, None, value) => self.history.acknowledge_somewhere(partition, value),
            Seen::GivenUp(..) | Seen::Failed(..) | Seen::Revoked => {}
            Seen::Read(partition, offset, value, high_watermark) => {
                if offset >= high_watermark {
                    let what = format!(
                        "partition {partition}: offset {offset} was read with a high watermark of {high_watermark}"
                    );
                    return broken("I6", what);
                }
                if keeps {
                    self.history.read(partition, offset, value)?;
                    let next = self.progress.insert((program, partition), offset + 1);
                    if next.is_some_and(|next| next != offset) {
                        let what = format!("partition {partition}: program {program} reads {offset} after {next:?}");
                        return broken("I4", what);
                    }
                } else {
                    self.progress.insert((program, partition), offset + 1);
                }
                if self.programs[program].kind == Kind::Join {
                    self.group.read(partition, offset);
                }
            }
            Seen::Assigned(generation, partitions) => {
                self.progress.retain(|(reader, _), _| *reader != program);
                // A member that was given up meanwhile has no generation; it hears of it with its next poll.
                if generation >= 0 {
                    self.group.assigned(member, generation, &partitions, keeps)?;
                }
                let known = partitions.iter().filter_map(|(partition, from)| Some((*partition, (*from)?)));
                self.progress.extend(known.map(|(partition, from)| ((program, partition), from)));
            }
            Seen::Committing(..) => {}
            Seen::Committed(generation, offsets) => self.group.committed(generation, &offsets),
            Seen::Topic(name, made) => {
                if made {
                    self.topics.insert(name);
                } else {
                    self.topics.remove(&name);
                }
            }
            Seen::Broken(name, what) if self.plan.mischief == Mischief::None => {
                return broken("no error", format!("program {program}, {name}: {what}"));
            }
            Seen::Broken(..) => {}
            Seen::Done => {
                if self.programs[program].is_closing() {
                    // It was asked to end, and has.
                    self.kill_program(program);
                } else {
                    self.programs[program].is_done = true;
                }
            }
        }
        Ok(())
    }

    /// Looks whether a call has taken too long (I13).
    pub(super) fn look_at_calls(&mut self) -> Result<(), Violation> {
        let now = self.now();
        for program in &self.programs {
            if let Some((name, due)) = program.calls.values().find(|(_, due)| *due < now) {
                let (number, since) = (program.number, now - *due);
                return broken("I13", format!("program {number}: {name} should have returned {since:?} ago"));
            }
        }
        Ok(())
    }

    /// A host is gone, and its connections with it. A machine without power says no goodbye.
    pub(super) fn leave_streams(&mut self, node: Node, power_cut: bool) {
        for (stream, end) in self.network.streams.of(node) {
            let is_zookeepers =
                self.network.streams.get(stream).is_some_and(|open| open.end(1).node == self.zookeeper());
            if !power_cut {
                // A kernel that finds unread bytes says so.
                let reset = !is_zookeepers && self.chance.permille(300);
                self.send_piece(stream, Way::of_end(end), if reset { Piece::Reset } else { Piece::End });
            }
            self.network.streams.abandon(stream, end, power_cut || is_zookeepers);
        }
    }
}
