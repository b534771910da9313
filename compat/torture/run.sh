#!/bin/sh
# Three brokers under kills, pauses, partitions, full disks and power cuts: nothing acknowledged is lost.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/torture.py" "$@"
