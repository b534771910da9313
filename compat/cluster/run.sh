#!/bin/sh
# Three brokers: the tutorial, other people's clients through failovers, and the histories of lost records.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/three_brokers.py" "$@"
