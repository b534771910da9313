"""What three copies cost beside one: CPU of all brokers for each GB, and the time until a record is acknowledged."""
import re
import statistics
import subprocess
import time

from servers import BROKERS, PROGRAM, Cluster, wait_for, warm
from markdown import table

RECORD_BYTES = 1024
PACED_RECORDS = 20_000
PACED_PER_S = 1_000
LATENCIES = re.compile(r"([\d.]+) ms 50th, [\d.]+ ms 95th, ([\d.]+) ms 99th, ([\d.]+) ms 99.9th")


def measure(work, options):
    kinds = [("one copy, acks=1 (no sync)", 1, "1"), ("one copy, acks=all (synced before the answer)", 1, "all"), ("three copies, acks=all", 3, "all")]
    cost = {kind: [] for kind, *_ in kinds}
    paced = {kind: [] for kind, *_ in kinds}
    for number in range(options.rounds):
        # Side by side in every round: pages that are fresh to this machine cost whoever comes first.
        for kind, replicas, acks in kinds:
            folder = work / f"replication-{number}-{replicas}-{acks}"
            cluster = Cluster(folder)
            try:
                cluster.create("bulk", 1, replicas)
                cluster.create("paced", 1, replicas)
                wait_for("the topics are known", lambda: all(cluster.metadata(broker).is_in_sync("paced", 1, replicas) for broker in cluster.brokers))
                warm(folder, options.gb * replicas)
                records = int(options.gb * 1e9 / RECORD_BYTES)
                before = cluster.cpu_s()
                produce(cluster, "bulk", acks, records, -1, "linger.ms=5", "batch.size=1000000", "buffer.memory=67108864")
                time.sleep(1)
                after = cluster.cpu_s()
                cost[kind].append(sum(after[broker] - before[broker] for broker in cluster.brokers) / options.gb)
                found = LATENCIES.findall(produce(cluster, "paced", acks, PACED_RECORDS, PACED_PER_S, "linger.ms=0"))
                paced[kind].append([float(ms) for ms in found[-1]])
            finally:
                cluster.stop()
    one = statistics.median(cost[kinds[0][0]])
    rows = []
    for kind, *_ in kinds:
        cpu = statistics.median(cost[kind])
        rows.append((kind, f"{cpu:.2f}", f"{cpu / one:.2f}", *(f"{statistics.median(column):.0f}" for column in zip(*paced[kind]))))
    table((f"{options.gb:g} GB of records of {RECORD_BYTES} B", "CPU s/GB of all brokers", "over one copy", f"ms at {PACED_PER_S:,}/s: p50", "p99", "p99.9"), *rows)


def produce(cluster, topic, acks, records, throughput, *properties):
    words = [PROGRAM, "kafka-producer-perf-test", "--topic", topic, "--num-records", records, "--record-size", RECORD_BYTES, "--throughput", throughput,
             "--producer-props", f"bootstrap.servers={cluster.bootstrap()}", f"acks={acks}", *properties]
    ran = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"error: {' '.join(map(str, words))}: {ran.stderr}")
    return ran.stdout
