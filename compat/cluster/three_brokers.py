"""Three brokers over Debian's ZooKeeper ensemble and over our keeper: the tutorial, other people's clients, and the histories of lost records.  See README.md beside this file."""
import argparse
import pathlib
import random
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / part) for part in ("", "torture", "oracle"))]
import apache
import campaign
from harness import Checks
from losses import SCRIPTS, losses
from typed import tutorial
from zoo import zoo

STORES = ("zookeeper", "keeper")
SHORT_S, NIGHTLY_MINUTES, NIGHTLY_REPEAT = 20, 30, 20
PARTS = ("tutorial", "zoo", "losses")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--nightly", action="store_true", help=f"{NIGHTLY_MINUTES} minutes of clients on each store, each loss script {NIGHTLY_REPEAT} times")
    options.add_argument("--minutes", type=float, help="of clients, while leaders, coordinators, controllers and the store's leader are killed in turn")
    options.add_argument("--repeat", type=int, help="of each loss script; once where not given")
    options.add_argument("--store", choices=STORES, help="only this one; the short form has the clients on ZooKeeper and the loss scripts on the keeper")
    options.add_argument("--part", choices=PARTS, action="append", help="only this one")
    options.add_argument("--script", choices=[script.__name__ for script in SCRIPTS], action="append", help="only this loss script")
    options.add_argument("--seed", type=int, help="of moments and victims; a new one where not given")
    options = options.parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    checks, parts, long = Checks(), options.part or PARTS, options.nightly or options.minutes or options.repeat
    usable = []
    for store in [options.store] if options.store else STORES:
        why = apache.zookeeper_missing() if store == "zookeeper" else None
        if why:
            checks.skip(f"three brokers on {store}", why)
        else:
            usable.append(store)
    if "tutorial" in parts:
        for store in usable:
            campaign.Campaign("cluster-tutorial").add(tutorial(checks, store))
    if "zoo" in parts:
        seconds = (options.minutes or NIGHTLY_MINUTES * bool(options.nightly)) * 60 or SHORT_S
        for store in usable if long else usable[:1]:
            zoo(checks, store, seconds, random.Random(seed))
    if "losses" in parts:
        for store in usable if long else usable[-1:]:
            repeat = options.repeat or (NIGHTLY_REPEAT if options.nightly else 1)
            good = losses(checks, store, repeat, random.Random(seed), options.script)
            campaign.Campaign("cluster-losses").add({"store": store, "seed": seed, "repeat": repeat, "good": good, "played": sum(good.values())})
    for name, key in (("cluster-tutorial", "lines"), ("cluster-zoo", "kills"), ("cluster-losses", "played")):
        print(campaign.Campaign(name).summary(key), flush=True)
    checks.close()


if __name__ == "__main__":
    main()
