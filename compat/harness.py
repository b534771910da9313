"""What the compat scripts share: processes whose output can be awaited, servers in fresh directories, checks that are counted.

Every process is started in a process group of its own and ended by its id. Every wait has a limit.
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("TIDEMILL") or str(ROOT / "target/release/tidemill")
SETUP = pathlib.Path(os.environ.get("TEST_SETUP") or ROOT / ".test-setup")
PYTHON = os.environ.get("PYTHON") or str(SETUP / "venv/bin/python")
WAIT_S = 30


class Failed(Exception):
    """A check that did not hold, with what was seen instead."""


class Checks:
    """Runs named checks, prints a line each and the closing line that ./test reads."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, function, *arguments):
        started = time.monotonic()
        try:
            function(*arguments)
        except Exception as error:  # a broken check is a failed one, whatever broke it
            self.failed += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
            return False
        self.passed += 1
        print(f"ok      {name} ({time.monotonic() - started:.1f} s)", flush=True)
        return True

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}", flush=True)

    def close(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed else 0)


def expect(actual, expected, what="output"):
    if actual != expected:
        raise Failed(f"{what} is\n{actual!r}\nnot\n{expected!r}")


def take_ctrl_c():
    """In a child before it runs: SIGINT and SIGHUP end it again, where whoever started the tests in the background, or by nohup, had them ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Process:
    """A command under way, its lines kept as they come."""

    def __init__(self, command, cwd=None, env=None, stdin=False):
        self.command = [str(word) for word in command]
        self.process = subprocess.Popen(
            self.command, cwd=cwd, env={**os.environ, **(env or {})}, start_new_session=True, text=True, errors="replace", bufsize=1,
            preexec_fn=take_ctrl_c, stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.err = [], []
        self.changed = threading.Condition()
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))]
        for reader in self.readers:
            reader.start()

    def _read(self, pipe, lines):
        for line in pipe:
            with self.changed:
                lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def tail(self):
        return f"{' '.join(self.command)[-200:]}\nstdout: {self.out[-15:]}\nstderr: {self.err[-15:]}"

    def wait_until(self, condition, what, seconds=WAIT_S):
        """Waits for condition(out, err); fails with the end of the output, at once where the process is gone and it can never hold."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition(self.out, self.err):
                left = deadline - time.monotonic()
                ended = self.process.poll() is not None and not any(reader.is_alive() for reader in self.readers)
                if left <= 0 or ended:
                    if ended and condition(self.out, self.err):
                        return
                    raise Failed(f"no {what} {'before it ended' if ended else f'within {seconds} s'}\n{self.tail()}")
                self.changed.wait(min(left, 0.2))

    def wait_line(self, pattern, seconds=WAIT_S):
        self.wait_until(lambda out, err: any(re.search(pattern, line) for line in out + err), f"line like {pattern!r}", seconds)

    def type(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self, seconds=WAIT_S):
        """Waits for its own end; gives the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
            raise Failed(f"did not end within {seconds} s\n{self.tail()}") from None
        for reader in self.readers:
            reader.join(5)
        return code

    def stop(self, how=signal.SIGTERM, seconds=WAIT_S):
        """Ends it with a signal; gives the exit code, negative where the signal itself ended it."""
        if self.process.poll() is None:
            try:
                self.process.send_signal(how)
            except ProcessLookupError:
                pass
        return self.finish(seconds) if how != signal.SIGKILL else self.process.wait(seconds)


def run(command, cwd=None, env=None, seconds=60, text=None):
    """Runs a command to its end; gives (exit code, stdout, stderr)."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, env={**os.environ, **(env or {})}, input=text, text=True,
                          errors="replace", timeout=seconds, stdin=None if text is not None else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_port(port, seconds=WAIT_S, process=None):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process is not None and process.process.poll() is not None:
                raise Failed(f"ended before it listened on {port}\n{process.tail()}") from None
            time.sleep(0.02)
    raise Failed(f"nothing listens on {port} after {seconds} s\n{process.tail() if process else ''}")


class Workspace:
    """A fresh directory and the processes started in it; all of them are ended and the directory removed on exit."""

    def __init__(self, name):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix=f"tidemill-{name}-"))
        self.processes = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.process.poll() is None:
                try:
                    process.stop(signal.SIGTERM, 10)
                except Exception:
                    process.stop(signal.SIGKILL)
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.path, ignore_errors=True)

    def start(self, command, **options):
        process = Process(command, **{"cwd": self.path, **options})
        self.processes.append(process)
        return process

    def properties(self, name, changes):
        """A copy of config/NAME with some keys set; gives its path."""
        lines = (ROOT / "config" / name).read_text().splitlines()
        lines = [line for line in lines if line.split("=")[0].strip() not in changes]
        path = self.path / name
        path.write_text("\n".join(lines + [f"{key}={value}" for key, value in changes.items()]) + "\n")
        return path
