"""A broker loses its disk and copies everything again: as fast as it can, and held to a rate (KIP-73)."""
import shutil
import subprocess
import time

import replication
from servers import BROKERS, PROGRAM, Cluster, cpu_s, wait_for, warm
from markdown import table

TOPIC = "kept"
PARTITIONS = 6
RATE_BYTES_PER_S = 50_000_000


def measure(work, options):
    rows = []
    for name, rate in (("without a throttle", None), (f"held to {RATE_BYTES_PER_S / 1e6:.0f} MB/s", RATE_BYTES_PER_S)):
        folder = work / f"disk-{rate}"
        cluster = Cluster(folder)
        try:
            cluster.create(TOPIC, PARTITIONS, BROKERS)
            wait_for("the topic is known", lambda: all(cluster.metadata(broker).is_in_sync(TOPIC, PARTITIONS, BROKERS) for broker in cluster.brokers))
            warm(folder, options.gb * BROKERS)
            records = int(options.gb * 1e9 / replication.RECORD_BYTES)
            replication.produce(cluster, TOPIC, "all", records, -1, "linger.ms=5", "batch.size=1000000", "buffer.memory=67108864")
            if rate:
                # Each broker takes its own settings, so while all of them are there.
                throttle(cluster, rate)
            lost = max(cluster.brokers)
            cluster.kill(lost)
            shutil.rmtree(folder / f"broker-{lost}")
            wait_for("its partitions are led by others", lambda: cluster.metadata(0).is_led(TOPIC, PARTITIONS, cluster.brokers))
            before = cluster.cpu_s()
            began = time.monotonic()
            cluster.start_broker(lost)
            wait_for("everything is copied", lambda: cluster.metadata(0).is_in_sync(TOPIC, PARTITIONS, BROKERS))
            took = time.monotonic() - began
            leaders = sum(cluster.cpu_s()[broker] - before[broker] for broker in before if broker in cluster.brokers and broker != lost)
            rows.append((name, f"{took:.1f}", f"{options.gb * 1000 / took:.0f}", f"{cpu_s(cluster.brokers[lost]) / options.gb:.2f}", f"{leaders / options.gb:.2f}"))
        finally:
            cluster.stop()
    table((f"a lost disk, {options.gb:g} GB", "s until all is in sync", "MB/s", "CPU s/GB of the one that copies", "of those it copies from"), *rows)


def throttle(cluster, rate):
    for kind, name, settings in [
        *(("brokers", broker, f"leader.replication.throttled.rate={rate},follower.replication.throttled.rate={rate}") for broker in range(BROKERS)),
        ("topics", TOPIC, "leader.replication.throttled.replicas=*,follower.replication.throttled.replicas=*"),
    ]:
        words = [PROGRAM, "kafka-configs", "--bootstrap-server", cluster.bootstrap(), "--alter", "--entity-type", kind, "--entity-name", str(name),
                 "--add-config", settings]
        subprocess.run(words, check=True, capture_output=True)
