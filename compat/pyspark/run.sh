#!/bin/bash
# PySpark 2.4.8's own streaming tests on our package and our servers: every test passes or stands in known-failures.txt with its reason.
#
#   compat/pyspark/run.sh [--nightly] [pytest arguments, e.g. -k window]
#
# The tests come out of PySpark's source distribution, fetched from the package registry once and kept in $TEST_SETUP; nothing of it is in this
# repository. The whole suite takes about two minutes, so the long form is the short form.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
[ "${1:-}" != --nightly ] || shift
setup=${TEST_SETUP:-$root/.test-setup}
python=${PYTHON:-$setup/venv/bin/python}
version=2.4.8
suite=$setup/pyspark-$version
if [ ! -f "$suite/pyspark_streaming_tests.py" ]; then
    fetched=$(mktemp -d)
    trap 'rm -rf "$fetched"' EXIT
    # The package describes itself by running its setup.py, which wants wheel and setuptools and chokes on today's pypandoc: hence the environment.
    "$python" -m venv "$fetched/venv"
    "$fetched/venv/bin/pip" install --quiet --disable-pip-version-check 'setuptools<70' wheel
    "$fetched/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation --no-cache-dir \
        --dest "$fetched" "pyspark==$version"
    mkdir -p "$suite"
    tar -xzOf "$fetched/pyspark-$version.tar.gz" "pyspark-$version/pyspark/streaming/tests.py" >"$suite/tests.py.part"
    mv "$suite/tests.py.part" "$suite/pyspark_streaming_tests.py"
fi
export PYTHONPATH="$here:$root/compat:$root/python/tidemill/shim:$root/python${PYTHONPATH:+:$PYTHONPATH}"
# Some tests make folders in the current directory.
work=$(mktemp -d)
trap 'rm -rf "$work" "${fetched:-$work}"' EXIT
cd "$work"
"$python" -m pytest -p plugin -p no:cacheprovider -q --rootdir "$work" -W ignore::DeprecationWarning "$suite/pyspark_streaming_tests.py" "$@"
