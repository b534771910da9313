#!/bin/sh
# What the servers show of themselves: metrics that Prometheus' own parser reads, health, logs, signals.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/console.py" "$@"
