"""The same wrong commands typed to Apache Kafka 0.9.0.1's tools, on our servers: what Apache says first must be in what ours says, or stand in differs.txt with the reason."""
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "oracle"))
import apache
from cases import CASES
from harness import Failed, run

DIFFERS = HERE / "differs.txt"
# What 0.9 has under these names; what came later (--bootstrap-server, other tools) has no line there to compare.
TOOLS = {"bin/kafka-topics.sh": "kafka-topics", "bin/kafka-console-producer.sh": "kafka-console-producer", "bin/kafka-console-consumer.sh": "kafka-console-consumer",
         "bin/kafka-consumer-groups.sh": "kafka-consumer-groups", "bin/kafka-consumer-offset-checker.sh": "kafka-consumer-offset-checker",
         "bin/kafka-configs.sh": "kafka-configs", "bin/kafka-dump-log.sh": "kafka-dump-log"}
# What Apache says here depends on what the cases before have made: the first topic of a list, a topic that is there by now.
NOT_COMPARED = ("topics-word-too-many", "producer-new-topic")
TOOL_S = 45
# What is said of a tool that says nothing.
SILENCE = "(nothing)"


def compared():
    """The cases that 0.9's tools know: theirs end by themselves."""
    return [case for case in CASES if case.line.split()[0] in TOOLS and "--bootstrap-server" not in case.line and not case.waits
            and case.name not in NOT_COMPARED]


def expected_lines(case):
    """What ours prints, on whatever it prints it, as one line."""
    lines = (HERE / "expected" / f"{case.name}.txt").read_text().splitlines()
    return " ".join(line for line in lines[1:] if not re.match(r"^(<|exit code|--- )", line))


def apaches_line(world, case):
    for line in case.before:
        world.type(line)
    words = case.line.split(None, 1)
    command = " ".join(apache.tool(TOOLS[words[0]])).replace("*", "\\*")
    try:
        _, out, err = run(["bash", "-c", world.as_run(f"{command} {words[1] if len(words) > 1 else ''}")], cwd=world.checkout,
                          env=world.environment, seconds=TOOL_S, text=case.stdin if case.stdin is not None else "")
    except subprocess.TimeoutExpired:
        return SILENCE
    return world.as_shown(first((out + err).splitlines())) or SILENCE


def first(lines):
    """The first line that says something, without log4j's date, class and level, and without the names of exceptions in Java."""
    for line in lines:
        line = re.sub(r"^\[[^\]]*\] (ERROR|WARN|INFO|FATAL) ", "", line)
        line = re.sub(r" \([a-zA-Z.$]+\)$", "", line)
        line = re.sub(r'^(Exception in thread "main" )?(\w+\.)+\w*Exception: ', "", line)
        if line.strip():
            return line.strip()
    return ""


def differences():
    """Case -> (Apache's line, why ours is another)."""
    found = {}
    for block in DIFFERS.read_text().split("\n\n"):
        lines = [line for line in block.splitlines() if line and not line.startswith("#")]
        if lines:
            name, theirs, why = (line.split(": ", 1)[-1] for line in lines)
            found[name] = (theirs, why)
    return found


def compare(world, case, known):
    ours, theirs = expected_lines(case), apaches_line(world, case)
    if theirs in ours:
        if case.name in known:
            raise Failed(f"it stands in {DIFFERS.name} and does not differ: {ours}")
        return
    if case.name not in known:
        raise Failed(f"ours:   {ours}\nApache: {theirs}")
    if known[case.name][0] != theirs:
        raise Failed(f"{DIFFERS.name} has\n{known[case.name][0]}\nApache says\n{theirs}")


def check_all(checks, world, wanted):
    if why := apache.missing():
        checks.skip("Apache's words", why)
        return
    known = differences()
    cases = [case for case in compared() if not wanted or case.name in wanted or "apache" in wanted]
    for case in cases:
        checks.check(f"{case.name}: Apache's words", compare, world, case, known)
    unknown = sorted(known.keys() - {case.name for case in compared()})
    if unknown:
        checks.check(DIFFERS.name, fail, f"no such cases: {unknown}")


def fail(why):
    raise Failed(why)
