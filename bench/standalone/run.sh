#!/usr/bin/env bash
# What standalone `tidemill` costs while it starts, while nobody asks it for anything, with idle connections, and with thousands of partitions.
# Prints markdown for docs/PERFORMANCE.md. Needs python3 (nothing but its own library) and a release build; about 2 minutes.
#   run.sh [--starts 10] [--idle 60] [--connections 1000,5000] [--partitions 2000] [--only start,idle,connections,partitions]
# TIDEMILL names another program to measure.
set -eu
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
export TIDEMILL=${TIDEMILL:-${CARGO_TARGET_DIR:-$here/../../target}/release/tidemill}
[ -x "$TIDEMILL" ] || { echo "help: cargo build --release" >&2; exit 2; }
exec python3 "$here/standalone.py" "$@"
