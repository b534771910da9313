#!/bin/bash
# Word count, ours beside real PySpark and beside a plain Python loop: prints one table. See README.md.
#
#   bench/streaming/run.sh [--quick | --long] [--pyspark VENV] [--out DIR]
#
# It needs a release build (cargo build --release; --release -p tidemill-python; --release -p tidemill-streaming --example bench_word_count),
# which it makes where it is absent, and a virtual environment with pyspark 4.3.0, which it makes once in .test-setup (520 MB, Java 17 needed).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
release=$CARGO_TARGET_DIR/release
export TIDEMILL=${TIDEMILL:-$release/tidemill}
for built in "$TIDEMILL" "$release/lib_tidemill.so" "$release/examples/bench_word_count"; do
    if [ ! -e "$built" ]; then
        (cd "$root" && cargo build --release -p tidemill -p tidemill-python &&
            cargo build --release -p tidemill-streaming --example bench_word_count)
        break
    fi
done
export JOB=${JOB:-$release/examples/bench_word_count}
exec python3 "$here/measure.py" "$@"
