"""What is done to the cluster. A fault is aimed, begins, holds, and is over: first its cause is taken away (`end`), then what it killed is started again (`revive`).

It is aimed while all is well, for a store that is down cannot be asked who leads: victims follow from the run's seed and from who leads then. The leader is that of the first partition of the topic under load.
"""
import signal
import time

from kazoo.client import KazooClient

from network import both_ways
from harness import Failed
from servers import faketime

HOUR_S = 3600


class Fault:
    hold_s = (3, 8)
    stores = ("keeper", "zookeeper")
    needs_disks = needs_clock = False
    is_served_through = False  # nobody has to be elected, so nobody should notice

    def __init__(self, cluster, rng, topic, session_s):
        self.cluster, self.rng, self.topic, self.session_s = cluster, rng, topic, session_s
        self.victims = []

    @classmethod
    def why_not(cls, cluster):
        """Why it cannot be done to this cluster; None where it can."""
        if cluster.store not in cls.stores:
            return f"not with {cluster.store}"
        if cls.needs_disks and not cluster.on_disks:
            return "no disks of its own"
        if cls.needs_clock and not faketime():
            return "no libfaketime, and the machine's own clock is not for tests to step"
        return None

    def hold(self):
        low, high = self.hold_s
        return self.rng.uniform(low, high)

    def choose(self):
        """Whom or what it will hit."""

    def aim(self):
        self.target = self.choose()

    def begin(self):
        raise NotImplementedError

    def end(self):
        pass

    def revive(self):
        for server in self.victims:
            if not server.running:
                server.start()

    # Whom it may hit.

    def leader(self):
        return self.cluster.leader(self.topic) or self.rng.choice(self.cluster.brokers)

    def follower(self):
        return self.rng.choice([broker for broker in self.cluster.brokers if broker is not self.leader()])

    def controller(self):
        return self.cluster.controller() or self.rng.choice(self.cluster.brokers)

    def store_leader(self):
        return self.cluster.store_leader() or self.rng.choice(self.cluster.stores)

    def others(self, *servers):
        return [broker for broker in self.cluster.brokers if broker not in servers]


# Death.

class Kill(Fault):
    def begin(self):
        self.victims = self.target
        for server in self.victims:
            if server.running:
                server.end(signal.SIGKILL)


class KillLeader(Kill):
    def choose(self):
        return [self.leader()]


class KillFollower(Kill):
    def choose(self):
        return [self.follower()]


class KillController(Kill):
    def choose(self):
        return [self.controller()]


class KillKeeper(Kill):
    """The one keeper, or the leader of the ensemble."""
    hold_s = (1, 5)

    def choose(self):
        return [self.store_leader()]


class StoreGone(Kill):
    """Nobody answers for metadata for half a minute: the keeper is dead, or two of the ensemble's three are. Who leads goes on leading."""
    hold_s = (30, 30)
    is_served_through = True

    def choose(self):
        return self.rng.sample(self.cluster.stores, len(self.cluster.stores) // 2 + 1)


class KillAll(Kill):
    hold_s = (0, 3)

    def choose(self):
        servers = self.cluster.brokers + self.cluster.stores
        return self.rng.sample(servers, len(servers))


class RollingRestart(Fault):
    """Each broker in turn is ended in good order and started again; the next one only when all is well."""
    hold_s = (0, 0)

    def begin(self):
        for broker in self.cluster.brokers:
            if broker.running:
                code = broker.end(signal.SIGTERM)
                if code not in (0, 143):  # a JVM's is 143
                    raise Failed(f"{broker.name} ended with {code} after SIGTERM")
            broker.start()
            broker.wait_ready()
            self.cluster.wait_whole()


# Sleep.

class Pause(Fault):
    def choose(self):
        return self.leader()

    def begin(self):
        self.target.pause()

    def end(self):
        self.target.resume()


class Pause3(Pause):
    hold_s = (3, 3)


class Pause15(Pause):
    hold_s = (15, 15)


class PauseSession(Pause):
    """A little longer than its session lives."""

    def hold(self):
        return self.session_s * 1.5


class PauseController(PauseSession):
    def choose(self):
        return self.controller()


# Silence.

class Cut(Fault):
    """The target is directed pairs of hosts between which nothing passes any more."""
    hold_s = (7, 12)

    def begin(self):
        for sender, receiver in self.target:
            self.cluster.network.cut(sender, receiver)

    def end(self):
        for sender, receiver in self.target:
            self.cluster.network.heal(sender, receiver)


def names(*servers):
    return [server.host.name for server in servers]


class CutLeader(Cut):
    """From the other brokers and the metadata store, both ways; clients still reach it."""

    def choose(self):
        leader = self.leader()
        return both_ways(names(leader), names(*self.others(leader), *self.cluster.stores))


class CutFromAll(Cut):
    """From the clients, too."""

    def choose(self):
        leader = self.leader()
        return both_ways(names(leader), [host for host in self.cluster.network.hosts if host != leader.host.name])


class CutOneWay(Cut):
    """What the leader sends is lost, or what is sent to it; the other way is open."""

    def choose(self):
        leader = self.leader()
        out = [(leader.host.name, other) for other in names(*self.others(leader), *self.cluster.stores)]
        return out if self.rng.random() < 0.5 else [(receiver, sender) for sender, receiver in out]


class Zombie(Cut):
    """The leader is cut from the metadata store alone."""

    def choose(self):
        return both_ways(names(self.leader()), names(*self.cluster.stores))


class CutFollowers(Cut):
    """The leader is cut from its followers alone."""

    def choose(self):
        leader = self.leader()
        return both_ways(names(leader), names(*self.others(leader)))


class Bridge(Cut):
    """Two brokers do not hear each other; the third hears both."""

    def choose(self):
        one, other = self.rng.sample(self.cluster.brokers, 2)
        return both_ways(names(one), names(other))


class Ring(Cut):
    """Each broker is heard by one other alone, in a ring."""

    def choose(self):
        ring = names(*self.rng.sample(self.cluster.brokers, len(self.cluster.brokers)))
        return [(ring[number], ring[number - 1]) for number in range(len(ring))]


# Disks.

class DiskFull(Fault):
    needs_disks = True

    def choose(self):
        return self.leader()

    def begin(self):
        self.target.disk.fill()

    def end(self):
        self.target.disk.free()


class PowerCut(Fault):
    """What was not synced is gone."""
    needs_disks = True
    hold_s = (0, 4)

    def begin(self):
        self.victims = self.target
        for server in self.victims:
            server.before_power_cut()
        for server in self.victims:
            server.disk.cut_power()
        for server in self.victims:
            server.end(signal.SIGKILL)

    def end(self):
        for server in self.victims:
            server.disk.unmount()
            server.disk.restore_power()


class PowerOne(PowerCut):
    def choose(self):
        return [self.leader()]


class PowerTwo(PowerCut):
    def choose(self):
        leader = self.leader()
        return [leader, self.rng.choice(self.others(leader))]


class PowerAll(PowerCut):
    """Brokers and metadata store at once."""

    def choose(self):
        return self.cluster.brokers + self.cluster.stores


# Time.

class SessionExpiry(Fault):
    """Somebody else closes the leader's session, by its number and password: it is over at once, and the leader learns it last."""
    hold_s = (2, 4)

    def choose(self):
        _, stat = self.cluster.kazoo.retry(self.cluster.kazoo.get, f"/brokers/ids/{self.leader().id}")
        return stat.ephemeralOwner, self.cluster.stores[0].password(stat.ephemeralOwner)

    def begin(self):
        session = self.target[0]
        other = KazooClient(hosts=self.cluster.connect, client_id=self.target)
        other.start(10)
        taken = other.client_id[0]
        other.stop()
        other.close()
        if taken != session:
            raise Failed(f"session {session:#x} could not be taken over: a new one, {taken:#x}, was given")


class ClockStep(Fault):
    """The leader's wall clock jumps by an hour, forward or back, and returns."""
    needs_clock = True
    hold_s = (4, 8)

    def choose(self):
        return self.leader()

    def begin(self):
        self.target.step_clock(self.rng.choice([HOUR_S, -HOUR_S]))

    def end(self):
        self.target.step_clock(0)


class Both(Fault):
    """Two faults that overlap."""

    def __init__(self, *arguments, parts):
        super().__init__(*arguments)
        self.parts = [part(*arguments) for part in parts]

    def hold(self):
        return max(part.hold() for part in self.parts)

    def aim(self):
        for part in self.parts:
            part.aim()

    def begin(self):
        for number, part in enumerate(self.parts):
            if number:
                time.sleep(self.rng.uniform(0, 2))
            part.begin()

    def end(self):
        for part in self.parts:
            part.end()

    def revive(self):
        for part in self.parts:
            part.revive()


FAULTS = {
    "kill-leader": KillLeader, "kill-follower": KillFollower, "kill-controller": KillController, "kill-keeper": KillKeeper, "kill-all": KillAll,
    "store-gone": StoreGone, "rolling-restart": RollingRestart,
    "pause-3": Pause3, "pause-15": Pause15, "pause-session": PauseSession, "pause-controller": PauseController,
    "cut-leader": CutLeader, "cut-from-all": CutFromAll, "cut-one-way": CutOneWay, "zombie": Zombie, "cut-followers": CutFollowers, "bridge": Bridge, "ring": Ring,
    "disk-full": DiskFull, "power-one": PowerOne, "power-two": PowerTwo, "power-all": PowerAll,
    "session-expiry": SessionExpiry, "clock-step": ClockStep,
}
# After these acks=all must have meant the disks of the replicas, not their memory.
BEYOND_REPLICATION = {PowerTwo, PowerAll}
# A restart of each broker in turn waits for the cluster to be whole in between, which it never is while something else is wrong; and a session is closed by way of the store.
NOT_IN_PAIRS = {"rolling-restart", "session-expiry"}


def parts_of(name):
    """The classes of a fault's name, of two where it is written one+other."""
    unknown = [part for part in name.split("+") if part not in FAULTS]
    if unknown:
        raise KeyError(f"no fault {unknown[0]}; there are {', '.join(FAULTS)}")
    return [FAULTS[part] for part in name.split("+")]


def why_not(name, cluster):
    return next((why for part in parts_of(name) if (why := part.why_not(cluster))), None)


def make(name, *arguments):
    parts = parts_of(name)
    return parts[0](*arguments) if len(parts) == 1 else Both(*arguments, parts=parts)


def singles():
    return list(FAULTS)


def pair(rng):
    return "+".join(rng.sample([name for name in FAULTS if name not in NOT_IN_PAIRS], 2))
