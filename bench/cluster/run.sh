#!/usr/bin/env bash
# What a cluster of three brokers and a keeper costs, and how long it takes to recover: topics of many partitions, leaders and controllers that are killed, replication
# against a single copy, and a disk that is lost. Prints markdown for docs/PERFORMANCE.md. Needs python3 (nothing but its own library) and a release build.
#   run.sh [--only failover,replication,disk] [--partitions 3,1000,10000] [--gb 2] [--rounds 3]
# TIDEMILL names another program to measure.
set -eu
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
export TIDEMILL=${TIDEMILL:-${CARGO_TARGET_DIR:-$here/../../target}/release/tidemill}
[ -x "$TIDEMILL" ] || { echo "help: cargo build --release" >&2; exit 2; }
exec python3 "$here/run.py" "$@"
