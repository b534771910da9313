#!/bin/sh
# A keeper whose disk runs full and is freed again, with kazoo as the client.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/keeper_disk.py" "$@"
