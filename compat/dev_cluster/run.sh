#!/bin/sh
# Three brokers on this machine, and the tools that look after a cluster, beside Apache's own.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/dev_cluster.py" "$@"
