"""Network namespaces of the run's own: every server in one, all routed through a router, the clients in another; partitions that are silent and may be one way.

A connection is cut by a blackhole rule in the router, so that nobody is told: packets vanish. A rule for A to B leaves B to A alone. No namespace has a way out of
the machine. Names carry the process id of the run and the time it started: what a killed run left is found by them and removed by the next one.
"""
import ctypes
import itertools
import os
import pathlib
import signal
import subprocess

NAMESPACES = pathlib.Path("/run/netns")
PREFIX = "tidemill-torture"
CLONE_NEWNET = 0x40000000
ROUTER, CLIENTS = "router", "clients"


def ip(*words, check=True):
    done = subprocess.run(["ip", *map(str, words)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    if check and done.returncode != 0:
        raise OSError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def started_at(pid):
    """The moment a process started, in ticks since the machine did; None where there is no such process."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def run_name():
    """The name of this run, which says whether the process that it belongs to lives."""
    return f"{PREFIX}-{os.getpid()}-{started_at(os.getpid())}"


def belongs_to_the_dead(name):
    """Whether something named after a run is left from one that is over."""
    words = name.removeprefix(f"{PREFIX}-").split("-")
    return name.startswith(f"{PREFIX}-") and len(words) >= 2 and all(word.isdigit() for word in words[:2]) and started_at(words[0]) != int(words[1])


def remove_leftovers():
    """Namespaces of runs that were killed, and the processes in them; gives their names."""
    names = sorted(path.name for path in NAMESPACES.glob(f"{PREFIX}-*")) if NAMESPACES.is_dir() else []
    names = [name for name in names if belongs_to_the_dead(name)]
    for name in names:
        remove(name)
    return names


def remove(name):
    for pid in ip("netns", "pids", name, check=False).split():
        # The run itself stands in the namespace of its clients.
        if int(pid) != os.getpid():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
    ip("netns", "del", name, check=False)


def why_not():
    """Why no namespaces can be made here; None where they can."""
    if os.geteuid() != 0:
        return "network namespaces take root"
    probe = f"{run_name()}-probe"
    try:
        ip("netns", "add", probe)
        ip("-n", probe, "link", "set", "lo", "up")
        ip("-n", probe, "rule", "add", "from", "10.77.0.1", "to", "10.77.0.2", "blackhole")
        ip("-n", probe, "link", "add", "one", "type", "veth", "peer", "name", "other")
    except (OSError, FileNotFoundError) as error:
        return f"network namespaces cannot be made here: {error}"
    finally:
        if (NAMESPACES / probe).exists():
            remove(probe)
    return None


class Host:
    """One namespace with an address of its own."""

    def __init__(self, network, name, number):
        self.network, self.name, self.namespace = network, name, f"{network.run}-{name}"
        self.address = f"10.77.{number}.2"

    def inside(self, command):
        """The command line that runs a command in this namespace, as the very process that is started."""
        return ["nsenter", f"--net={NAMESPACES / self.namespace}", *map(str, command)]


class Network:
    def __init__(self):
        self.run, self.hosts, self.cuts, self.home = run_name(), {}, set(), None
        self.router = f"{self.run}-{ROUTER}"

    def __enter__(self):
        try:
            ip("netns", "add", self.router)
            ip("-n", self.router, "link", "set", "lo", "up")
            subprocess.run(["nsenter", f"--net={NAMESPACES / self.router}", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"], check=True)
            self.add(CLIENTS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.leave()
        for name in [host.namespace for host in self.hosts.values()] + [self.router]:
            remove(name)

    def add(self, name):
        number = len(self.hosts) + 1
        host = Host(self, name, number)
        ip("netns", "add", host.namespace)
        self.hosts[name] = host
        ip("-n", self.router, "link", "add", f"to-{name}", "type", "veth", "peer", "name", "eth0", "netns", host.namespace)
        ip("-n", self.router, "addr", "add", f"10.77.{number}.1/24", "dev", f"to-{name}")
        ip("-n", self.router, "link", "set", f"to-{name}", "up")
        ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", host.namespace, "link", "set", device, "up")
        ip("-n", host.namespace, "route", "add", "default", "via", f"10.77.{number}.1")
        return host

    def enter(self):
        """Puts the calling thread, and all threads and processes it starts from now on, among the clients."""
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        with open(NAMESPACES / self.hosts[CLIENTS].namespace) as namespace:
            set_namespace(namespace.fileno())

    def leave(self):
        if self.home is not None:
            set_namespace(self.home)
            os.close(self.home)
            self.home = None

    def cut(self, sender, receiver):
        """From now on nothing that one host sends reaches the other; the way back stays open."""
        if (sender, receiver) not in self.cuts:
            self._rule("add", sender, receiver)
            self.cuts.add((sender, receiver))

    def heal(self, sender, receiver):
        if (sender, receiver) in self.cuts:
            self._rule("del", sender, receiver)
            self.cuts.discard((sender, receiver))

    def heal_all(self):
        for sender, receiver in list(self.cuts):
            self.heal(sender, receiver)

    def _rule(self, verb, sender, receiver):
        ip("-n", self.router, "rule", verb, "from", self.hosts[sender].address, "to", self.hosts[receiver].address, "blackhole")


def set_namespace(descriptor):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def both_ways(senders, receivers):
    """Every directed pair between two groups of hosts."""
    return [pair for one, other in itertools.product(senders, receivers) if one != other for pair in ((one, other), (other, one))]
