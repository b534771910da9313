#!/bin/sh
# Every wrong use: what is printed, its exit code, and whether the command of its help line works.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/wrong_use.py" "$@"
