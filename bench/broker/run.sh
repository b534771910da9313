#!/bin/sh
# Puts the same load on the floor, on Tidemill with log.flush.before.ack=never and =auto and, with --apache, on Apache Kafka 0.9.0.1, and prints one
# table. See compare.py, and ./run.sh --help.
#
# Needs a C compiler, make and librdkafka's headers (Debian: gcc make librdkafka-dev), python3 and a release build (cargo build --release).
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${BENCH_OUT:-${CARGO_TARGET_DIR:-$root/target}/bench-broker}
TIDEMILL=${TIDEMILL:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
export TIDEMILL

missing() {
    printf 'skipped: no broker figures: %s\nhelp: %s\n' "$1" "$2" >&2
    exit 3
}
for tool in cc make python3; do
    command -v $tool >/dev/null || missing "there is no $tool" "apt-get install gcc make python3"
done
printf '#include <librdkafka/rdkafka.h>\n' | cc -E - >/dev/null 2>&1 || missing "there are no headers of librdkafka" "apt-get install librdkafka-dev"
[ -x "$TIDEMILL" ] || missing "$TIDEMILL is not built" "cargo build --release"
make -s -C "$here" OUT="$out" || exit 1
exec python3 "$here/compare.py" --programs "$out" "$@"
