"""Failovers, replication and a lost disk on three brokers, as markdown."""
import argparse
import pathlib
import tempfile

import disk
import failover
import replication

PARTS = {"failover": failover.measure, "replication": replication.measure, "disk": disk.measure}


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--partitions", type=numbers, default=[3, 1000, 10000])
    parser.add_argument("--gb", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-cluster-") as work:
        for part in options.only.split(","):
            PARTS[part](pathlib.Path(work), options)


if __name__ == "__main__":
    main()
