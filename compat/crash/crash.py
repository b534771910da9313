"""Kills at random moments under load and looks, after each restart, at what must have been kept.

Two trials: keeper and broker in one process; keeper, broker and word count as three.
"""
import argparse
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
import campaign
from harness import Checks, Workspace
from one_process import OneProcess
from parts import Parts

TRIALS = {"one": OneProcess, "parts": Parts}
ROUNDS = {"one": 8, "parts": 4}
NIGHTLY_ROUNDS = 100


def run(checks, name, rounds, seed):
    print(f"{name}: seed {seed}, {rounds} rounds", flush=True)
    good = 0
    with Workspace("crash") as workspace:
        trial = TRIALS[name](workspace, random.Random(seed))
        for number in range(1, rounds + 1):
            if not checks.check(f"{name}, round {number}", trial.round):
                print(f"        with --trial {name} --seed {seed}; it said {trial.said()}", flush=True)
                if number < rounds:
                    checks.skip(f"{name}, rounds {number + 1} to {rounds}", "a round failed")
                break
            good = number
        ended = good == rounds and checks.check(f"{name}, the end in good order", trial.end)
        result = {"seed": seed, "rounds": good, "failed": not ended, "acknowledged": sum(trial.load.acknowledged),
                  "without_offset": trial.load.without_offset, "restarts": len(trial.restarts), "slowest_restart_s": round(max(trial.restarts, default=0), 2),
                  "new_members": trial.reader.renewals, **trial.figures()}
    print(", ".join(f"{key} {value}" for key, value in result.items()), flush=True)
    return result


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--nightly", action="store_true", help=f"goes on until the campaign holds {NIGHTLY_ROUNDS} good rounds of each trial")
    options.add_argument("--trial", choices=TRIALS, action="append", help="only this one")
    options.add_argument("--rounds", type=int, help="8 and 4 where not given")
    options.add_argument("--seed", type=int, help="of the moments and the records; a new one where not given")
    options = options.parse_args()
    checks = Checks()
    for name in options.trial or TRIALS:
        past = campaign.Campaign(f"crash-{name}")
        rounds = options.rounds or ROUNDS[name]
        if options.nightly and not options.rounds:
            rounds = NIGHTLY_ROUNDS - past.total("rounds") % NIGHTLY_ROUNDS
        past.add(run(checks, name, rounds, random.randrange(1 << 32) if options.seed is None else options.seed))
        print(past.summary("rounds", "acknowledged", "restarts"), flush=True)
    checks.close()


if __name__ == "__main__":
    main()
