//! Topics of a world come, go and move, and leaders are elected anew: what [`super::super::admin`] asks for, and what it is told.

use std::time::Duration;

use bytes::Bytes;
use client::zookeeper::paths;
use client::zookeeper::znodes::{PartitionElection, Reassignment};

use super::super::admin::{self, Op, Outcome};
use super::super::history::{Partition, Violation, broken};
use super::super::plan::AdminPlan;
use super::super::server::Server;
use super::super::topics::{Fate, TopicPlan};
use super::{CALL_WAIT, Caller, Event, World};

/// How much longer than for another answer is waited for that of a controller, which takes its time.
const CONTROLLER_WAIT: Duration = Duration::from_secs(2);
/// Nothing is so long on its way, repetitions included.
const LATEST: Duration = Duration::from_millis(2_500);

impl World {
    /// Begins something, asks again for what was begun, or waits.
    pub(super) fn administer(&mut self) -> Result<(), Violation> {
        let Some(plan) = self.plan.admin.clone() else { return Ok(()) };
        let pause = self.chance.ms(plan.pause_ms.0, plan.pause_ms.1);
        self.after(pause, Event::Administer);
        if self.admin.in_flight {
            return Ok(());
        }
        if self.admin.op.is_none() {
            let Some(op) = self.is_busy.then(|| self.draw(&plan)).flatten() else { return Ok(()) };
            self.admin.by_znode =
                self.chance.permille(plan.by_znode_permille) && !matches!(op, Op::Create(_) | Op::TakeBack(_));
            self.begin(&op);
            self.say(|| format!("admin: {op:?}{}", if self.admin.by_znode { " by a znode" } else { "" }));
            self.admin.op = Some(op);
        }
        match self.admin.by_znode {
            true => self.write_znode(),
            false => {
                self.ask_controller();
                Ok(())
            }
        }
    }

    fn ask_controller(&mut self) {
        let Some(op) = self.admin.op.clone() else { return };
        let settings = match &op {
            Op::Create(place) => self.plan.topic_settings(self.catalogue.at(*place).plan),
            _ => Vec::new(),
        };
        let to = match self.admin.controller {
            Some(controller) => controller,
            None => self.chance.below(self.plan.brokers as u64) as usize,
        };
        let frame = admin::request(&op, &self.catalogue, &settings);
        self.admin.tries += 1;
        self.admin.in_flight = true;
        self.call(Caller::Admin, self.admin_node(), to, frame, CALL_WAIT + CONTROLLER_WAIT);
    }

    /// As tools did before there were requests for it.
    fn write_znode(&mut self) -> Result<(), Violation> {
        let Some(op) = self.admin.op.clone() else { return Ok(()) };
        match op {
            Op::Delete(place) => {
                let name = self.catalogue.at(place).plan.name;
                if self.admin.tries == 0 {
                    self.admin.tries = 1;
                    self.keeper.put(&paths::delete_topic(name), "");
                } else if self.assignment_of(name).is_none() && self.keeper.get(&paths::delete_topic(name)).is_none() {
                    self.done(&op)?;
                }
            }
            Op::Move(partition, replicas) if self.keeper.get(paths::REASSIGN_PARTITIONS).is_none() => {
                let (topic, number) = self.catalogue.of(partition);
                let partitions = vec![(topic.plan.name.to_owned(), number, replicas)];
                self.keeper.put(paths::REASSIGN_PARTITIONS, Reassignment { partitions }.to_json());
                self.admin.forget();
            }
            Op::Prefer(partition) if self.keeper.get(paths::PREFERRED_REPLICA_ELECTION).is_none() => {
                let (topic, number) = self.catalogue.of(partition);
                let partitions = vec![(topic.plan.name.to_owned(), number)];
                self.keeper.put(paths::PREFERRED_REPLICA_ELECTION, PartitionElection { partitions }.to_json());
                self.admin.forget();
            }
            // Another request of its kind is there: this one waits.
            Op::Move(..) | Op::Prefer(_) => {}
            Op::Create(_) | Op::TakeBack(_) => self.admin.by_znode = false,
        }
        self.hear_keeper()
    }

    /// A controller has answered, or has not.
    pub(super) fn administered(&mut self, broker: usize, frame: Option<Bytes>) -> Result<(), Violation> {
        self.admin.in_flight = false;
        let Some(op) = self.admin.op.clone() else { return Ok(()) };
        let outcome = frame.map_or(Outcome::Unknown, |frame| admin::outcome(&op, frame));
        self.say(|| format!("admin: {op:?} is {outcome:?}, broker {broker} says"));
        self.admin.controller = Some(broker).filter(|_| matches!(outcome, Outcome::Done | Outcome::Refused(_)));
        match outcome {
            Outcome::Done => self.done(&op),
            Outcome::Refused(_) => {
                if let (Op::Move(partition, _), 1) = (&op, self.admin.tries) {
                    self.told_of(*partition).pop();
                }
                self.admin.forget();
                Ok(())
            }
            // An answer may have been lost that said so. An error is no promise: a controller of yesterday may say of a topic that it exists.
            Outcome::Unknown if self.has_come_about(&op) => self.done(&op),
            Outcome::Unknown | Outcome::Elsewhere => Ok(()),
        }
    }

    /// Whether the tree shows a topic made or deleted.
    fn has_come_about(&self, op: &Op) -> bool {
        let assignment = |place: usize| self.assignment_of(self.catalogue.at(place).plan.name);
        match op {
            Op::Create(place) => assignment(*place).is_some_and(|found| found.topic_id.is_some()),
            Op::Delete(place) => assignment(*place).is_none(),
            Op::Move(..) | Op::TakeBack(_) | Op::Prefer(_) => false,
        }
    }

    /// What must be so from the moment on in which it was begun.
    fn begin(&mut self, op: &Op) {
        match op {
            Op::Create(_) | Op::Prefer(_) => {}
            Op::Delete(place) => {
                let now = self.now();
                let topic = self.catalogue.at_mut(*place);
                (topic.fate, topic.doomed_at) = (Fate::Doomed, now);
                for partition in self.catalogue.at(*place).row.clone() {
                    self.producers.iter_mut().for_each(|producer| producer.forget(partition));
                }
            }
            Op::Move(partition, replicas) => {
                self.told_of(*partition).push(replicas.clone());
                if self.admin.by_znode {
                    let place = self.catalogue.place_of(*partition);
                    self.catalogue.at_mut(place).is_doubtful = true;
                }
            }
            Op::TakeBack(partition) => {
                let (topic, number) = self.catalogue.of(*partition);
                let Some(found) = self.assignment_of(topic.plan.name) else { return };
                let adding = found.adding_replicas.get(&number).cloned().unwrap_or_default();
                let all = found.partitions.get(&number).cloned().unwrap_or_default();
                self.told_of(*partition).push(all.into_iter().filter(|id| !adding.contains(id)).collect());
            }
        }
    }

    /// What must be so once it was told to be done.
    fn done(&mut self, op: &Op) -> Result<(), Violation> {
        match op {
            Op::Create(place) => {
                let plan = self.catalogue.at(*place).plan;
                let found = self.assignment_of(plan.name);
                let Some((found, id)) = found.and_then(|found| found.topic_id.map(|id| (found, id))) else {
                    return broken("I18", format!("topic {} was told to be there, and is not in the tree", plan.name));
                };
                let is_as_asked = |replicas: &Vec<i32>| replicas.len() == plan.replicas;
                if found.partitions.len() != plan.partitions || !found.partitions.values().all(is_as_asked) {
                    return broken("I18", format!("{plan:?} was asked for, and {:?} is there", found.partitions));
                }
                self.catalogue.stands(*place, id, found.partitions.into_values());
            }
            Op::Delete(place) => {
                let name = self.catalogue.at(*place).plan.name;
                if self.assignment_of(name).is_some() {
                    return broken("I18", format!("topic {name} was told to be gone, and is in the tree"));
                }
                self.catalogue.at_mut(*place).fate = Fate::Gone;
            }
            Op::Move(partition, replicas) => {
                if !self.catalogue.of(*partition).0.is_doubtful {
                    *self.told_of(*partition) = vec![replicas.clone()];
                }
            }
            Op::TakeBack(_) | Op::Prefer(_) => {}
        }
        self.admin.forget();
        Ok(())
    }

    /// The replicas that a partition may have in the end.
    fn told_of(&mut self, partition: Partition) -> &mut Vec<Vec<i32>> {
        let number = self.catalogue.of(partition).1;
        let place = self.catalogue.place_of(partition);
        &mut self.catalogue.at_mut(place).replicas[number as usize]
    }

    /// Something to do; nothing where there is nothing of the kind that was drawn.
    fn draw(&mut self, plan: &AdminPlan) -> Option<Op> {
        let standing = self.catalogue.partitions();
        let partition = self.chance.one_of(&standing);
        let drawn = self.chance.below(100);
        match drawn {
            0..30 => {
                let free: Vec<&'static str> = plan.names.iter().copied().filter(|name| self.is_free(name)).collect();
                let name = (!free.is_empty()).then(|| self.chance.one_of(&free))?;
                let topic = TopicPlan::of(&mut self.chance, name);
                Some(Op::Create(self.catalogue.add(topic)))
            }
            30..50 => {
                // The first topic stands for good.
                let others: Vec<usize> = self.catalogue.standing().into_iter().filter(|place| *place > 0).collect();
                (!others.is_empty()).then(|| Op::Delete(self.chance.one_of(&others)))
            }
            50..75 => Some(Op::Move(partition, self.draw_replicas(partition))),
            75..82 => Some(Op::TakeBack(partition)),
            _ => Some(Op::Prefer(partition)),
        }
    }

    /// Whether a topic of this name may be made: none is there, every broker that runs has let go of the one before, and nothing that was said to that one is still on its way. Requests name topics
    /// by their names, and a state's version begins at zero again: a broker that still takes the old topic for the new one would acknowledge what nobody finds.
    fn is_free(&self, name: &str) -> bool {
        let before =
            self.catalogue.all().iter().filter(|topic| topic.plan.name == name).map(|topic| topic.doomed_at).max();
        let Some(doomed_at) = before else { return true };
        let holds = |server: &Server| match (&server.process, server.state()) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(_), Some(state)) => {
                server.is_paused || state.replicas.all().iter().any(|hosted| *hosted.partition().topic == *name)
            }
        };
        !self.catalogue.is_taken(name) && self.now() > doomed_at + LATEST && !self.servers.iter().any(holds)
    }

    /// Any brokers in any order: as many as acknowledgements need, and of the topic that stands no fewer than two.
    fn draw_replicas(&mut self, partition: Partition) -> Vec<i32> {
        let topic = self.catalogue.of(partition).0.plan;
        let fewest = topic.min_insync_replicas.max(if topic.replicas > 1 { 2 } else { 1 });
        let wanted = self.chance.between(fewest as u64, self.plan.brokers as u64) as usize;
        let mut left: Vec<i32> = (0..self.plan.brokers as i32).collect();
        let mut replicas = Vec::new();
        while replicas.len() < wanted {
            let at = self.chance.below(left.len() as u64) as usize;
            replicas.push(left.remove(at));
        }
        replicas
    }
}
