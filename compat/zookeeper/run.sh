#!/bin/sh
# The keeper against Apache ZooKeeper 3.8: random requests, the same replies.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/zookeeper.py" "$@"
