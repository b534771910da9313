#!/bin/sh
# Today's clients, unchanged, on compacted topics of our broker.  See FINDINGS.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/compaction.py" "$@"
