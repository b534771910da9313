"""Three brokers, their metadata store and their clients under faults, in namespaces and on disks that the run makes itself.  See README.md beside this file."""
import argparse
import pathlib
import random
import shlex
import signal
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "oracle")]
import apache
import campaign
import disks
import faults
import network
from harness import Checks, Workspace
from test_checker import check_the_checker, check_the_comparison
from trial import WORKLOADS, Trial

STORES = ("keeper", "zookeeper")
ALL = ("W1", "W3", "W4", "W6", "W9", "W11")
# The short form: each kind of fault in one of its shapes, on the store where it says most.
SMOKE = {
    "keeper": (["kill-leader", "zombie", "cut-one-way", "pause-session", "disk-full", "power-one", "kill-keeper+kill-follower"], ["W1", "W3", "W6", "W9", "W11"]),
    "zookeeper": (["kill-controller", "cut-followers", "session-expiry", "kill-keeper", "power-all"], ["W1", "W3", "W4"]),
}
NIGHTLY_MINUTES = 60
ROUND = 8  # faults on one cluster, before everything is looked at and a new one is made


def why_not(store, kind):
    if why := network.why_not():
        return why
    with Workspace("torture-probe") as workspace:
        if why := disks.why_not(workspace.path):
            return why
    if store == "zookeeper" and (why := apache.zookeeper_missing()):
        return why
    return apache.missing() if kind == "apache" else None


def table(lines):
    """Unavailability after each fault, over every run of a campaign."""
    rows = {}
    for line in lines:
        for done in line["faults"]:
            rows.setdefault((line["store"], done["fault"]), []).append(done)
    text = ["| store | fault | times | unavailable, median | at most | producing again after, at most | in sync after, at most |", "|---|---|---|---|---|---|---|"]
    for (store, name), all_done in sorted(rows.items()):
        silent, again = [done["unavailable"] for done in all_done], [done["recovered"] for done in all_done if done["recovered"] is not None]
        text.append(f"| {store} | {name} | {len(all_done)} | {statistics.median(silent):.1f} s | {max(silent):.1f} s | "
                    f"{f'{max(again):.1f} s' if again else 'never'} | {max(done['whole'] for done in all_done):.1f} s |")
    return "\n".join(text)


def run(checks, options, store, seed, names, workloads, until=None):
    """One trial as one check; its line is in the campaign whatever came of it."""
    trial = Trial(store, seed, names, workloads, options.session_ms, options.brokers, until, lambda line: print(line, flush=True))
    print(f"{store}, seed {seed}: {', '.join(workloads)} under {', '.join(names)}", flush=True)
    result = {}

    def judged():
        result.update(trial.run())
        if trial.failed():
            raise AssertionError(trial.why())

    good = checks.check(f"{store}, seed {seed}: nothing lost, doubled, reordered or stuck", judged)
    if result:
        campaign.Campaign(f"torture-{options.brokers}").add(result)
        print("        " + ", ".join(f"{name} {figures}" for name, figures in result["figures"].items()), flush=True)
    if not good:
        again = ["compat/torture/run.sh", "--store", store, "--seed", seed, "--faults", ",".join(names), "--workloads", ",".join(workloads)]
        print(f"        kept in {trial.kept}; again: {shlex.join(map(str, again))}", flush=True)
    return result


def names_of_a_round(options, rng, first):
    """Every single fault that the campaign has not had yet; then singles and pairs as they come."""
    chosen = options.faults or faults.singles()
    names = []
    while len(names) < ROUND:
        if first:
            names.append(first.pop())
        elif options.faults or rng.random() < 0.5:
            names.append(rng.choice(chosen))
        else:
            names.append(faults.pair(rng))
    return names


def not_yet(options, rng, store):
    """The faults that no run of the campaign has had on this store, in any order."""
    had = {done["fault"] for line in campaign.Campaign(f"torture-{options.brokers}").lines() if line["store"] == store for done in line["faults"]}
    left = [name for name in options.faults or faults.singles() if name not in had]
    return rng.sample(left, len(left))


def go_on(checks, options, minutes, stores):
    rng = random.Random(options.seed)
    deadline = time.monotonic() + minutes * 60
    first = {store: not_yet(options, rng, store) for store in stores}
    number = 0
    while time.monotonic() < deadline:
        store = stores[number % len(stores)]
        number += 1
        run(checks, options, store, rng.randrange(1 << 32), names_of_a_round(options, rng, first[store]), options.workloads or list(ALL), deadline)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--nightly", action="store_true", help=f"{NIGHTLY_MINUTES} minutes on each store in turn")
    options.add_argument("--minutes", type=float, help="goes on for so long, with new clusters and new faults")
    options.add_argument("--store", choices=STORES, help="only this one")
    options.add_argument("--seed", type=int, help="of victims, moments and records; a new one where not given")
    options.add_argument("--faults", type=lambda text: text.split(","), help="these and no others, in this order; a pair is written one+other")
    options.add_argument("--workloads", type=lambda text: text.split(","), help=f"of {', '.join(WORKLOADS)}; the first has to be W1")
    options.add_argument("--session-ms", type=int, default=6000, help="zookeeper.session.timeout.ms of the brokers")
    options.add_argument("--brokers", choices=("tidemill", "apache"), default="tidemill", help="apache: Kafka 0.9.0.1, against which the rig itself is held")
    options.add_argument("--table", action="store_true", help="only shows what all runs so far have measured")
    options = options.parse_args()
    past = campaign.Campaign(f"torture-{options.brokers}")
    if options.table:
        print(table(past.lines()))
        return
    for name in options.faults or []:
        faults.parts_of(name)
    if options.seed is None:
        options.seed = random.randrange(1 << 32)
    # Ended by a signal, it takes away what it made, as after Ctrl-C.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    checks = Checks()
    checks.check("the checker finds every anomaly that is planted, and none where there is none", check_the_checker)
    checks.check("the comparison of replicas finds a byte that differs", check_the_comparison)
    before = len(past.lines())
    stores = [options.store] if options.store else list(STORES)
    usable = []
    for store in stores:
        if why := why_not(store, options.brokers):
            checks.skip(f"brokers on {store} under faults", why)
        else:
            usable.append(store)
    left = network.remove_leftovers() + disks.remove_leftovers() if usable else []
    if left:
        print(f"        removed what a killed run left: {', '.join(map(str, left))}", flush=True)
    if usable and (options.minutes or options.nightly):
        go_on(checks, options, options.minutes or NIGHTLY_MINUTES * len(usable), usable)
    else:
        for store in usable:
            names, workloads = SMOKE[store]
            run(checks, options, store, options.seed, options.faults or names, options.workloads or workloads)
    lines = past.lines()[before:]
    if lines:
        print(table(lines))
        print(past.summary("struck", "faulted_s", "acknowledged"), flush=True)
    checks.close()


if __name__ == "__main__":
    main()
