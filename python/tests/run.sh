#!/bin/sh
# The Python package's own tests on the built extension.
cd "$(dirname -- "$(readlink -f -- "$0")")" || exit 2
exec "${PYTHON:-python3}" -m pytest -q -p no:cacheprovider "$@" .
