#!/bin/sh
# The tutorial's pages, read and typed: every command they show is run, every output compared.
exec "${PYTHON:-python3}" "$(dirname -- "$(readlink -f -- "$0")")/docs.py" "$@"
