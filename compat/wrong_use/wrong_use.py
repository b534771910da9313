"""Runs the cases of cases.py, compares what they print with expected/, and types the commands of their help lines.  See README.md beside this file."""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import beside_apache
import descriptors
from cases import CASES, PREPARE
from harness import PROGRAM, ROOT, Checks, Failed, Process, Workspace, free_port, run, take_ctrl_c, wait_port

EXPECTED = HERE / "expected"
# Ports as the cases write them: keeper, broker, a broker that makes no topics and its keeper, and some where nobody listens.
PORTS = ["2181", "9092", "2183", "9094", "2189", "9099", "9095", "2187", "9097"]
SILENT = "9096"
AT_ONCE = 4
CASE_S = 25
HELP_S = 20
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
MASKS = [
    (r"\bprocess \d+", "process PID"),
    (r"\bkill \d+", "kill PID"),
    (r"\bready in \d+ ms", "ready in N ms"),
    (r", for \d+ s\b", ", for N s"),
    (r"console-consumer-\d+", "console-consumer-N"),
    (r"\(/?127\.0\.0\.1:\d+\)|peer=127\.0\.0\.1:\d+|\b127\.0\.0\.1:(?!2181|2183|2189|909)\d{4,5}\b", "PEER"),
    (r"Cluster ID [\w-]{22}", "Cluster ID ID"),
    (r"kafka-logs-[\w-]{22}", "kafka-logs-ID"),
    (r"\b\d+ of \d+ s\b", "N of N s"),
    (r"\bmetadata after \d+ ms", "metadata after N ms"),
    # What measuring tools measure.
    (r"(?m)^\d+ records sent, .*$", "N records sent, ..."),
    (r"(?m)^\d{4}-\d\d-\d\d [\d:]+, \d{4}-\d\d-\d\d [\d:]+, .*$", "TIME, TIME, ..."),
    # A slow machine is told of, and with right.
    (r"(?m)^warn: processing .* batches queued\n", ""),
    # Python marks places in lines since 3.11.
    (r"(?m)^ +[~^]+\n", ""),
]
HUMAN = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z\s+(TRACE|DEBUG|INFO|WARN|ERROR)\s+(.*)$")


class World:
    """A folder like a checkout, with servers, where the usual ports stand for free ones."""

    def __init__(self, workspace):
        self.workspace = workspace
        self.real = {port: str(free_port()) for port in PORTS}
        # Connections are made by the kernel, and nobody ever takes them.
        self.silent = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.real[SILENT] = str(self.silent.getsockname()[1])
        # What help lines propose where 9092 is taken.
        self.real["9093"] = str(int(self.real["9092"]) + 1)
        # Somebody else can reach what is in it.
        workspace.path.chmod(0o755)
        self.checkout = workspace.path / "checkout"
        (self.checkout / "config").mkdir(parents=True)
        for name in ("bin", "examples", "python"):
            (self.checkout / name).symlink_to(ROOT / name)
        (self.checkout / "jobs").symlink_to(HERE / "jobs")
        for properties in (ROOT / "config").glob("*.properties"):
            (self.checkout / "config" / properties.name).write_text(self.as_run(properties.read_text()))
        tools = workspace.path / "tools"
        tools.mkdir()
        vi = tools / "vi"
        vi.write_text('#!/bin/sh\nline=${1#+}\n[ -f "$2" ] && [ "$(grep -c "" "$2")" -ge "$line" ]\n')
        vi.chmod(0o755)
        self.environment = {"TIDEMILL": PROGRAM, "LC_ALL": "C.UTF-8", "PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(workspace.path)}

    def as_run(self, text):
        for shown, real in self.real.items():
            text = re.sub(rf"(?<![\w.]){shown}\b", real, text)
        return text.replace("WORK", str(self.workspace.path))

    def as_shown(self, text):
        for shown, real in self.real.items():
            text = re.sub(rf"(?<![\w.]){real}\b", shown, text)
        text = text.replace(str(self.workspace.path), "WORK").replace(str(ROOT), "ROOT")
        for pattern, mask in MASKS:
            text = re.sub(pattern, mask, text)
        return text

    def start(self, line):
        return self.workspace.start(["bash", "-c", "exec " + self.as_run(line)], cwd=self.checkout, env=self.environment)

    def type(self, line, seconds=CASE_S, stdin=None):
        return run(["bash", "-c", self.as_run(line)], cwd=self.checkout, env=self.environment, seconds=seconds, text=stdin)


def log_line(line):
    """A line of a server's log as `LEVEL message`, None for INFO; any other line as it is."""
    # As is whether somebody else's job has Spark's.
    if line.startswith("warn: Service 'SparkUI' could not bind on port"):
        return None
    human = HUMAN.match(line)
    if human:
        return told(*human.groups())
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return line
        fields = entry.get("fields", entry)
        return told(entry.get("level", ""), fields.get("message", entry.get("message", "")))
    return line


def told(level, message):
    # Whether the console's port is free is this machine's affair.
    return None if level in ("INFO", "DEBUG") or message.startswith("no metrics and health pages") else f"{level} {message}"


def snapshot(world, case, code, out, err):
    lines = [log_line(line) for line in err.splitlines()]
    err = "".join(line + "\n" for line in lines if line is not None)
    text = f"$ {case.line}\n"
    if case.stdin is not None:
        text += f"< {case.stdin!r}\n"
    return world.as_shown(f"{text}exit code {code}\n--- stdout\n{out}--- stderr\n{err}")


def cannot(case):
    """Why a case cannot be had here; None where it can."""
    if case.read_only and (os.getuid() != 0 or not shutil.which("unshare")):
        return "a read-only file system needs root and unshare"
    if case.as_nobody and os.getuid() == 0:
        if not shutil.which("setpriv"):
            return "there is no setpriv to become somebody else"
        if subprocess.run([*NOBODY, "test", "-x", PROGRAM], stderr=subprocess.DEVNULL).returncode != 0:
            return f"nobody may not run {PROGRAM}"
    return None


def surrounded(world, case):
    """The command line with what the case needs around it. A file system is mounted for its process alone."""
    command = ["bash", "-c", "exec " + world.as_run(case.line) if case.waits else world.as_run(case.line)]
    if case.as_nobody and os.getuid() == 0:
        command = [*NOBODY, *command]
    if case.read_only:
        folder = shlex.quote(case.read_only)
        mount = f"mkdir -p {folder} && mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
        command = ["unshare", "--mount", "bash", "-c", f"{mount} && exec {shlex.join(command)}"]
    return command


def perform(world, case):
    """Runs one case; gives (exit code, stdout, stderr)."""
    for line in case.before:
        code, out, err = world.type(line)
        if code:
            raise Failed(f"{line} ends with {code}: {out}{err}")
    command = surrounded(world, case)
    if not case.waits:
        return run(command, cwd=world.checkout, env=world.environment, seconds=CASE_S, text=case.stdin)
    process = Process(command, cwd=world.checkout, env={**os.environ, **world.environment}, stdin=True)
    try:
        for line in case.typed:
            process.type(line)
        if case.until is not None:
            process.wait_line(case.until, CASE_S)
        time.sleep(case.stop_after or 0)
        process.process.send_signal(signal.SIGINT)
        if case.twice is not None:
            process.wait_line(case.twice, CASE_S)
            process.process.send_signal(signal.SIGINT)
        code = process.finish(CASE_S)
    finally:
        if process.process.poll() is None:
            process.stop(signal.SIGKILL)
    # What a shell shows where the signal itself ended it.
    code = 128 - code if code < 0 else code
    return code, "".join(line + "\n" for line in process.out), "".join(line + "\n" for line in process.err)


def compare(world, case, update):
    seen = snapshot(world, case, *perform(world, case))
    for line in case.after:
        _, out, err = world.type(line)
        seen += world.as_shown(f"$ {line}\n{out}{err}")
    path = EXPECTED / f"{case.name}.txt"
    if "Traceback" in seen and not case.users_traceback or "panicked" in seen or "stack backtrace" in seen:
        raise Failed(f"a stack is shown:\n{seen}")
    if update:
        path.write_text(seen)
    elif not path.exists():
        raise Failed(f"{path.name} is not there (--update writes it); seen:\n{seen}")
    elif seen != path.read_text():
        raise Failed(f"seen\n{seen}\nexpected\n{path.read_text()}")
    for absent in case.absent:
        if (world.checkout / absent).exists():
            raise Failed(f"{absent} was made by a start that was refused")
    return seen


def type_help(world, case):
    """The command of the help line works when it is typed: it ends well, or is a server that comes up."""
    text = (EXPECTED / f"{case.name}.txt").read_text()
    helps = re.findall(r"^help: (.*?)(?:   \(.*)?$", text, re.M)
    command = helps[0].strip()
    if "PID" in command or "-ID" in command:
        return
    starts = re.search(r"server-start\.sh|tidemill serve", command) and "--help" not in command
    if not starts:
        code, out, err = world.type(command, HELP_S, stdin="")
        if code:
            raise Failed(f"{command}\nends with {code}:\n{out}{err}")
        return
    # The servers of this test hold the usual ports: another checkout stands for the reader's, where they are down.
    with Workspace("help") as workspace:
        reader = World(workspace)
        properties = reader.checkout / "config/server.properties"
        properties.write_text(re.sub(r"zookeeper.connect=.*", f"zookeeper.connect=localhost:{world.real['2181']}/help-{case.name}", properties.read_text()))
        process = reader.start(command)
        process.wait_line(r"ready in \d+ ms", HELP_S)
        process.stop(signal.SIGTERM)


def main():
    arguments = sys.argv[1:]
    update, nightly = "--update" in arguments, "--nightly" in arguments
    wanted = [word for word in arguments if not word.startswith("-")]
    chosen = [case for case in CASES if not wanted or case.name in wanted]
    checks = Checks()
    EXPECTED.mkdir(exist_ok=True)
    with Workspace("wrong-use") as workspace:
        world = World(workspace)
        servers = [world.start("bin/zookeeper-server-start.sh config/zookeeper.properties")]
        wait_port(int(world.real["2181"]), process=servers[0])
        servers.append(world.start("bin/kafka-server-start.sh config/server.properties"))
        servers.append(world.start("bin/tidemill serve --port 9094 --keeper-port 2183 --data-dir second --override auto.create.topics.enable=false"))
        for server in servers:
            server.wait_line(r"ready in \d+ ms")
        for line in PREPARE:
            code, out, err = world.type(line)
            if code:
                raise Failed(f"{line} ends with {code}: {out}{err}")
        passed = []

        def one(case):
            if why := cannot(case):
                checks.skip(case.name, why)
                return
            if checks.check(case.name, compare, world, case, update):
                passed.append(case)

        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, [case for case in chosen if not case.alone]))
        for case in chosen:
            if case.alone:
                one(case)
        if not wanted or "descriptors" in wanted:
            for name, function, words in descriptors.checks(world):
                checks.check(name, function, *words)
        if nightly or "apache" in wanted:
            beside_apache.check_all(checks, world, wanted)
        helped = [case for case in passed if case.type_help and re.search(r"^help: ", (EXPECTED / f"{case.name}.txt").read_text(), re.M)]
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda case: checks.check(f"{case.name}: its help", type_help, world, case), helped))
        for server in servers:
            checks.check(f"{server.command[-1].split()[-1]} is well", still_well, server)
    checks.close()


def still_well(server):
    """Whatever was done to it, the server runs and has not panicked."""
    if server.process.poll() is not None or any("panicked" in line for line in server.err):
        raise Failed(server.tail())


if __name__ == "__main__":
    main()
