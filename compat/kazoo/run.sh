#!/bin/bash
# kazoo's own test suite on our keeper: every test passes or stands in known-failures.txt with its reason.
#
#   compat/kazoo/run.sh [pytest arguments, e.g. -k watch]
#
# TIDEMILL_KEEPER_CMD   what starts a keeper when a properties file is added (default: the example of crate keeper, built here)
# TIDEMILL_VENV         directory of the Python environment (default: .venv beside this script)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${TIDEMILL_VENV:-$here/.venv}
if [ ! -x "$venv/bin/pytest" ]; then
    echo "making the Python environment $venv" >&2
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'kazoo[test,sasl]==2.11.0'
fi
if [ -z "${TIDEMILL_KEEPER_CMD:-}" ]; then
    (cd "$root" && cargo build --quiet --release -p tidemill-keeper --example keeper)
    TIDEMILL_KEEPER_CMD="${CARGO_TARGET_DIR:-$root/target}/release/examples/keeper"
fi
export TIDEMILL_KEEPER_CMD
# kazoo decides by these what a server can be asked.
export ZOOKEEPER_VERSION=3.8.0 CI_ZK_VERSION=3.8.0 ZOOKEEPER_LOCAL_SESSION_RO=false
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
cd "$here"
exec "$venv/bin/python" -m pytest -p plugin -p no:cacheprovider -q --pyargs kazoo.tests "$@"
