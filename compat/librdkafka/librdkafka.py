"""Runs librdkafka's test-runner against two of our brokers and holds it to two lists.

Its tests come in two scenarios: `default` (a broker that makes topics by itself, with four partitions) and `noautocreate`. A test whose flags say "local" talks to
librdkafka's own mock broker or to nobody; it is not run here and counts for nothing. Every other test stands in exactly one of
- allowed.txt: it must pass. `short` ones run always, `long` ones with --nightly only;
- not-allowed.txt: it is not run, for the reason given there.
A name is the runner's own; `0081_admin/do_test_ListOffsets` is one subtest of a test that has parts in both lists.

The suite's quick mode (-Q) is not used: most tests then pass without having done anything. A test that passes in no time is held to have been left out by
the suite. Tests mostly wait, so JOBS processes run at a time; tests of one number run in one process, because that is how the runner picks them.
"""
import argparse
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import PROGRAM, ROOT, Checks, Failed, Workspace, free_port

SUITE = pathlib.Path(os.environ["LIBRDKAFKA"]) / "tests"
JOBS = int(os.environ.get("JOBS", "6"))
# The version a client is told to expect: it decides which tests and which subtests apply.
KAFKA_VERSION = "3.9.0"
# A test of which the suite runs nothing passes in microseconds, the shortest real one in some 20 ms.
NOTHING_SECONDS_MAX = 0.002
SHORT_SECONDS_MAX = 120
# 0113 alone takes eleven minutes.
LONG_SECONDS_MAX = 1500
SCENARIOS = {"default": "true", "noautocreate": "false"}


@dataclasses.dataclass(frozen=True)
class Test:
    """A row of the runner's own table."""
    name: str
    flags: str
    scenario: str

    @property
    def number(self):
        return self.name.split("_")[0]

    @property
    def needs_broker(self):
        return "TEST_F_LOCAL" not in self.flags and "TEST_F_MANUAL" not in self.flags


def runner_table():
    """The tests as tests/test.c declares them."""
    text = (SUITE / "test.c").read_text()
    text = re.sub(r"/\*.*?\*/", "", text[text.index("struct test tests[]"):], flags=re.S)
    rows = re.findall(r"_TEST\(\s*(\w+),\s*([A-Z0-9_|\s]+?)\s*(?:,(.*?))?\),\s*(?=_TEST|#|\{NULL)", text, flags=re.S)
    table = {}
    for name, flags, rest in rows:
        scenario = re.search(r'\.scenario\s*=\s*"(\w+)', rest)
        table[name] = Test(name, flags, scenario.group(1) if scenario else "default")
    return table


def read_list(name):
    """`name rest` by line; comments and blank lines left out."""
    rows = {}
    for line in (HERE / name).read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            test, _, rest = line.partition(" ")
            if test in rows:
                raise Failed(f"{name} has {test} twice")
            rows[test] = rest.strip()
    return rows


def check_lists(table, allowed, not_allowed):
    both = allowed.keys() & not_allowed.keys()
    if both:
        raise Failed(f"in both lists: {sorted(both)}")
    listed = {name.split("/")[0] for name in allowed.keys() | not_allowed.keys()}
    expected = {test.name for test in table.values() if test.needs_broker}
    if listed != expected:
        raise Failed(f"in no list: {sorted(expected - listed)}; in a list but not a test that needs a broker: {sorted(listed - expected)}")
    wrong = [name for name, length in allowed.items() if length not in ("short", "long")]
    if wrong:
        raise Failed(f"neither short nor long: {wrong}")


class Broker:
    """Keeper and broker in one process, with what the suite expects of its own cluster, but one broker instead of three."""

    def __init__(self, workspace, scenario):
        self.port, self.zookeeper = free_port(), free_port()
        settings = [f"auto.create.topics.enable={SCENARIOS[scenario]}", "num.partitions=4", "default.replication.factor=1"]
        command = [PROGRAM, "serve", "--keeper-port", self.zookeeper, "--port", self.port, "--data-dir", workspace.path / scenario]
        self.process = workspace.start(command + [word for setting in settings for word in ("--override", setting)])
        self.process.wait_line(r"started")
        self.address = f"127.0.0.1:{self.port}"
        self.conf = workspace.path / f"{scenario}.conf"
        self.conf.write_text(f"metadata.broker.list={self.address}\ntest.topic.random=true\ntest.timeout.multiplier=3\n")


@dataclasses.dataclass(frozen=True)
class Run:
    """One start of the runner: it picks tests by number and scenario, and may be held to one subtest."""
    number: str
    scenario: str
    subtest: str


def runs_of(table, names):
    """The fewest runs that cover these tests: run -> names."""
    runs = {}
    for name in names:
        test, _, subtest = name.partition("/")
        runs.setdefault(Run(table[test].number, table[test].scenario, subtest), []).append(name)
    return runs


def start(run, broker, log, seconds_max):
    """Runs the runner to its end; gives its output, and whether it ended in time."""
    environment = {
        **os.environ, "TESTS": run.number, "TEST_KAFKA_VERSION": KAFKA_VERSION, "TEST_SCENARIO": run.scenario, "RDKAFKA_TEST_CONF": str(broker.conf),
        "LD_LIBRARY_PATH": f"{SUITE.parent / 'src'}:{SUITE.parent / 'src-cpp'}", "KAFKA_PATH": str(ROOT), "TIDEMILL": PROGRAM,
        "BROKERS": broker.address, "ZK_ADDRESS": f"127.0.0.1:{broker.zookeeper}", **({"SUBTESTS": run.subtest} if run.subtest else {})}
    with log.open("wb") as output:
        # -L leaves out what is local to the client.
        process = subprocess.Popen([str(SUITE / "test-runner"), "-p1", "-L"], cwd=SUITE, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(seconds_max)
            in_time = True
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            in_time = False
    return re.sub(r"\x1b\[[0-9;]*m", "", log.read_text(errors="replace")), in_time


def outcome(name, text, in_time):
    """What the runner's output says of one test: passed, failed or skipped, why, and the seconds it took."""
    name, _, subtest = name.partition("/")
    row = re.search(rf"^\|\s*{name} +\| +(\w+) +\| +([0-9.]+)s +\|(.*)$", text, re.M)
    seconds = float(row.group(2)) if row else 0.0
    why = re.search(rf'^### Test "{name}\b.*\n.*$', text, re.M)
    why = " ".join(why.group(0).split()) if why else ""
    if not row:
        return "failed", why or ("no result: " + text[-300:] if in_time else "did not end in time"), seconds
    ended = row.group(1)
    if ended == "PASSED" and not subtest and seconds < NOTHING_SECONDS_MAX:
        return "skipped", "the suite ran nothing of it", seconds
    if ended == "PASSED" and subtest and not re.search(rf"\[ .*{re.escape(subtest)}.*: PASS", text):
        return "skipped", "the suite ran nothing of that name", seconds
    if ended == "PASSED":
        return "passed", "", seconds
    if ended == "SKIPPED":
        return "skipped", row.group(3).strip(), seconds
    return "failed", why or "did not end", seconds


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nightly", action="store_true")
    parser.add_argument("--survey", action="store_true")
    parser.add_argument("tests", nargs="*")
    options = parser.parse_args()
    table = runner_table()
    checks = Checks()
    allowed, not_allowed = read_list("allowed.txt"), read_list("not-allowed.txt")
    if options.tests:
        names = [name for word in options.tests for name in matching(table, word)]
    elif options.survey:
        names = [test.name for test in table.values() if test.needs_broker]
    else:
        checks.check("every test of the runner is in one list", check_lists, table, allowed, not_allowed)
        names = [name for name, length in allowed.items() if options.nightly or length == "short"]
    is_long = options.nightly or options.survey or bool(options.tests)
    with Workspace("librdkafka") as workspace:
        brokers = {scenario: Broker(workspace, scenario) for scenario in SCENARIOS}
        logs = pathlib.Path(os.environ.get("LOGS") or workspace.path / "logs")
        logs.mkdir(parents=True, exist_ok=True)
        runs = runs_of(table, names)
        with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
            under_way = {}
            for run in runs:
                log = logs / f"{run.number}-{run.scenario}{'-' if run.subtest else ''}{run.subtest}.log"
                under_way[pool.submit(start, run, brokers[run.scenario], log, LONG_SECONDS_MAX if is_long else SHORT_SECONDS_MAX)] = run
            for done in concurrent.futures.as_completed(under_way):
                text, in_time = done.result()
                if options.tests:
                    print(text)
                for name in runs[under_way[done]]:
                    report(checks, name, not options.survey and not options.tests, *outcome(name, text, in_time))
        for scenario, broker in brokers.items():
            checks.check(f"the broker of scenario {scenario} is still there", still_there, broker)
            if os.environ.get("LOGS"):
                (logs / f"broker-{scenario}.log").write_text("\n".join(broker.process.out + broker.process.err))
    checks.close()


def matching(table, word):
    """The tests a word on the command line means: a number, a name, or a name with a subtest."""
    if "/" in word:
        return [word]
    names = [test.name for test in table.values() if test.needs_broker and (test.name == word or test.number == word)]
    if not names:
        raise SystemExit(f"librdkafka's test-runner has no test {word} that needs a broker")
    return names


def still_there(broker):
    if broker.process.process.poll() is not None:
        raise Failed(broker.process.tail())


def report(checks, name, must_pass, ended, why, seconds):
    if ended == "passed":
        checks.passed += 1
        print(f"ok      {name} ({seconds:.1f} s)", flush=True)
    elif ended == "skipped" and not must_pass:
        checks.skip(name, why)
    else:
        checks.failed += 1
        print(f"FAILED  {name} ({seconds:.1f} s): {why}", flush=True)


if __name__ == "__main__":
    main()
