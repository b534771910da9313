"""Campaigns that add up over runs and days: each run leaves one line, with its commit, in `campaigns/NAME.jsonl` of the test set-up."""
import json
import subprocess
import time

from harness import ROOT, SETUP


class Campaign:
    def __init__(self, name):
        self.name, self.path = name, SETUP / "campaigns" / f"{name}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def lines(self):
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def add(self, result):
        line = {"commit": commit(), "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **result}
        with open(self.path, "a") as file:
            file.write(json.dumps(line) + "\n")

    def total(self, key):
        return sum(line.get(key, 0) for line in self.lines())

    def summary(self, *keys):
        lines = self.lines()
        totals = ", ".join(f"{sum(line.get(key, 0) for line in lines)} {key}" for key in keys)
        failed = sum(bool(line.get("failed")) for line in lines)
        return f"campaign {self.name}: {totals} in {len(lines)} runs, {failed} of them failed; {len({line['commit'] for line in lines})} commits ({self.path})"


def commit():
    """The commit of the checkout, with a plus where files differ from it."""
    def git(*words):
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
