#!/bin/sh
# The tutorial, command by command, on every combination of our parts and Apache's.  See FINDINGS.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/tutorial.py" "$@"
