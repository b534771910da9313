#!/usr/bin/env python3
"""Many seeds of the simulator, which add up over runs and days: each 500 seeds of the first tier (100 of the second) leave a line in `campaigns/simulator.jsonl` (`simulator-streams.jsonl`)
of the test set-up, with the commit they ran on.

A run goes on behind the last seed that any run before it has played (1 to 2,000, or 1 to 100, are those of ./test); one that is stopped loses what it has played of 500. The program is copied before it is
started, so that later builds do not disturb it."""
import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "compat")]
import campaign
from harness import ROOT, SETUP

PROFILE = "simulator"
# Record, seeds of ./test, and seeds of one line, by tier.
TIERS = {1: ("simulator", 2_000, 500), 2: ("simulator-streams", 100, 100)}


def build():
    """The program as a copy of its own, and the commit it is of."""
    subprocess.run(["cargo", "build", "--quiet", "--profile", PROFILE, "-p", "tidemill-testing", "--example", "campaign"], cwd=ROOT, check=True)
    commit = campaign.commit()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    copy = SETUP / "simulator" / f"campaign-{commit}-{os.getpid()}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(target / PROFILE / "examples/campaign", copy)
    return copy, commit


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", type=int, choices=TIERS, default=1, help="messages (1, the default) or byte streams with clients (2)")
    parser.add_argument("--seeds", type=int, default=5_000, help="how many (default 5,000)")
    parser.add_argument("--first", type=int, help="where to begin, instead of behind the last seed that was played")
    parser.add_argument("--summary", action="store_true", help="only say what was played so far")
    options = parser.parse_args()
    name, seeds_of_test, chunk = TIERS[options.tier]
    record = campaign.Campaign(name)
    if options.summary:
        print(record.summary("seeds", "events", "acknowledged", "cpu_seconds"))
        return 0
    played = max((line["first"] + line["seeds"] - 1 for line in record.lines()), default=0)
    first = options.first or max(played, seeds_of_test) + 1
    program, commit = build()
    failed = []
    try:
        with subprocess.Popen(["nice", "-n", "19", str(program), str(options.tier), str(first), str(options.seeds), str(chunk)], stdout=subprocess.PIPE, text=True) as running:
            for text in running.stdout:
                line = json.loads(text)
                record.add({"commit": commit, **line})
                failed += line["failed"]
                print(text, end="", flush=True)
    finally:
        program.unlink()
    print(record.summary("seeds", "events", "acknowledged"))
    if failed:
        print(f"seeds that failed: {failed}")
    return 1 if failed or running.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
