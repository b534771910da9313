"""Keeper and broker in one process, `tidemill serve`, killed in the middle of the load and, now and then, once more while it recovers."""
import signal
import time

from clients import fail_on
from harness import PROGRAM, Failed, expect
from trial import Trial


class OneProcess(Trial):
    def start(self):
        self.spawn()
        self.process.wait_line(r"started")
        self.owner = self.registration()

    def spawn(self):
        # Small segments, so that kills meet rolls and producer snapshots too.
        overrides = ["log.segment.bytes=262144", "group.initial.rebalance.delay.ms=0"]
        command = [PROGRAM, "serve", "--port", self.port, "--keeper-port", self.zookeeper, "--data-dir", self.workspace.path / "data"]
        self.process = self.workspace.start(command + [word for override in overrides for word in ("--override", override)])

    def kill(self):
        code = self.process.stop(signal.SIGKILL)
        expect(code, -signal.SIGKILL, f"the exit code of a server that was killed ({self.process.tail()})")
        fail_on([line for line in self.process.err if "panicked" in line])

    def strike(self):
        self.kill()
        if self.rng.random() < 0.3:
            self.spawn()
            time.sleep(self.rng.uniform(0.0, 0.4))
            self.kill()
        # Taken after the kill: what was acknowledged by now has to be there.
        confirmed = list(self.reader.confirmed)
        started = time.monotonic()
        self.spawn()
        self.wait_until_serving(self.process, started)
        # It answers as soon as it leads; that it is registered anew it says itself.
        self.process.wait_line(r"started")
        owner = self.registration()
        if owner == self.owner:
            raise Failed("/brokers/ids/0 still belongs to the session of the server that was killed")
        self.owner = owner
        self.commits_stand(confirmed)

    def end(self):
        super().end()
        expect(self.process.stop(signal.SIGTERM), 0, "the exit code after SIGTERM")

    def said(self):
        return self.process.err[-15:]
