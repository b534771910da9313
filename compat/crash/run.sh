#!/bin/sh
# kill -9 at random moments under load: nothing acknowledged is lost, doubled or out of order.  See README.md beside this file.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/crash.py" "$@"
