#!/usr/bin/env bash
# The same load on a real ZooKeeper 3.8 and on our keeper, in one run, as a markdown table for docs/PERFORMANCE.md. About 2 minutes.
#   run.sh [--secs 2] [--rounds 2] [--partitions 10000] [--phases set-64,get-64,...]
# Needs Debian's ZooKeeper (apt-get install --no-install-recommends zookeeper libslf4j-java default-jre-headless), cargo, and a release build;
# without the former it measures our keeper alone and says so. TIDEMILL names another program to measure.
set -eu
here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
program=${TIDEMILL:-$target/release/tidemill}
[ -x "$program" ] || { echo "help: cargo build --release" >&2; exit 2; }
CARGO_TARGET_DIR=$target/bench cargo build --release --quiet --manifest-path "$here/Cargo.toml"

work=$(mktemp -d)
started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# wait_serving PORT: until `srvr` is answered.
wait_serving() {
  for _ in $(seq 300); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1" && printf srvr >&3 && timeout 1 cat <&3 | grep -q Mode) 2>/dev/null; then return; fi
    sleep 0.1
  done
  echo "error: nothing serves on $1" >&2
  exit 1
}

servers=()
jars=/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar
if [ -f /usr/share/java/zookeeper.jar ] && command -v java >/dev/null; then
  port=$(free_port)
  printf 'tickTime=2000\ndataDir=%s/zookeeper\nclientPort=%s\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n4lw.commands.whitelist=*\nadmin.enableServer=false\n' \
    "$work" "$port" >"$work/zoo.cfg"
  java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp $jars org.apache.zookeeper.server.quorum.QuorumPeerMain "$work/zoo.cfg" \
    >"$work/zookeeper.log" 2>&1 &
  started+=($!)
  wait_serving "$port"
  servers+=("ZooKeeper=127.0.0.1:$port@${started[-1]}")
else
  echo "note: no ZooKeeper and Java of Debian's here: our keeper alone" >&2
fi
port=$(free_port)
printf 'dataDir=%s/keeper\nclientPort=%s\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n' "$work" "$port" >"$work/keeper.properties"
"$program" zookeeper-server-start "$work/keeper.properties" >"$work/keeper.log" 2>&1 &
started+=($!)
wait_serving "$port"
servers+=("Tidemill=127.0.0.1:$port@${started[-1]}")

"$target/bench/release/keeper-load" "$@" "${servers[@]}"
