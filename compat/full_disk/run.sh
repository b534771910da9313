#!/bin/sh
# A log directory that runs full under a real client, and one that fails.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/full_disk.py" "$@"
