#!/bin/bash
# kazoo's own test suite on our keeper: every test passes or stands in known-failures.txt with its reason.
#
#   compat/kazoo/run.sh [--nightly] [pytest arguments, e.g. -k watch]      (short and long form are the same)
#
# TIDEMILL     the program (default: the release build of this checkout)
# TEST_SETUP   where the Python environment is made (default: beside this script)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ "${1:-}" != --nightly ] || shift
venv=${TEST_SETUP:-$here/.venv}/kazoo
if [ ! -x "$venv/bin/pytest" ]; then
    echo "making the Python environment $venv" >&2
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'kazoo[test,sasl]==2.11.0'
fi
TIDEMILL_KEEPER_CMD="${TIDEMILL:-$root/target/release/tidemill} zookeeper-server-start"
export TIDEMILL_KEEPER_CMD
# kazoo decides by these what a server can be asked.
export ZOOKEEPER_VERSION=3.8.0 CI_ZK_VERSION=3.8.0 ZOOKEEPER_LOCAL_SESSION_RO=false
export PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}"
cd "$here"
exec "$venv/bin/python" -m pytest -p plugin -p no:cacheprovider -q --pyargs kazoo.tests "$@"
