"""Whether all replicas of a partition hold the same bytes below the high watermark."""
import pathlib
import struct

from harness import ROOT, run

HEAD = struct.Struct(">qi")  # base offset, length of what follows: of a batch and of a message of old alike
MAGIC_AT, LAST_OFFSET_DELTA_AT = 16, 23


class Damaged(Exception):
    """A segment that does not consist of whole batches whose offsets rise."""


def batches(folder):
    """(base offset, offset after the last one, bytes) of each batch of a replica, over all its segments."""
    found, expected = [], 0
    for path in sorted(pathlib.Path(folder).glob("*.log")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            if at + HEAD.size > len(data):
                raise Damaged(f"{path}: {len(data) - at} bytes behind the last batch")
            base, length = HEAD.unpack_from(data, at)
            size = HEAD.size + length
            if length < LAST_OFFSET_DELTA_AT - HEAD.size - 9 or at + size > len(data) or base < expected:
                raise Damaged(f"{path}: at byte {at} a batch of {length} bytes at offset {base}, where {expected} was to come and {len(data) - at} bytes are left")
            delta = struct.unpack_from(">i", data, at + LAST_OFFSET_DELTA_AT)[0] if data[at + MAGIC_AT] >= 2 else 0
            expected = base + delta + 1
            found.append((base, expected, data[at:at + size]))
            at += size
    return found


def differences(folders, end):
    """Where replicas differ below an offset: {name: folder} of each; a list of sentences, empty where all bytes are the same."""
    held, found = {}, []
    for name, folder in folders.items():
        try:
            held[name] = [batch for batch in batches(folder) if batch[0] < end]
        except (Damaged, OSError) as error:
            found.append(f"{name}: {error}")
    for name, mine in held.items():
        if (mine[-1][1] if mine else 0) < end:
            found.append(f"{name} ends at {mine[-1][1] if mine else 0}, below {end}")
    if not found and held:
        (first, one), *others = held.items()
        for name, other in others:
            differing = next((number for number, (left, right) in enumerate(zip(one, other)) if left != right), None)
            if differing is not None:
                found.append(f"{first} and {name} differ from offset {min(one[differing][0], other[differing][0])} on, below {end}")
            elif len(one) != len(other):
                found.append(f"{first} has {len(one)} batches below {end}, {name} has {len(other)}")
    return found


def of_topic(cluster, topic, ends):
    """Differences of all partitions of a topic whose ends are given, one a partition."""
    found = []
    for partition, replicas in cluster.topics()[topic].items():
        folders = {broker.name: broker.logs / f"{topic}-{partition}" for broker in cluster.brokers if broker.id in replicas}
        found += [f"{topic}-{partition}: {difference}" for difference in differences(folders, ends[partition])]
    return found


def dumped(broker, topic):
    """What kafka-dump-log says against a broker's segments of a topic: each batch's checksum is computed."""
    segments = sorted(broker.logs.glob(f"{topic}-[0-9]*/*.log"))
    code, out, err = run([ROOT / "bin/kafka-dump-log.sh", "--files", ",".join(map(str, segments))], seconds=120)
    wrong = [line for line in out.splitlines() if "isvalid: false" in line or "invalid bytes" in line]
    return [f"kafka-dump-log on {broker.name}: exit code {code}, {wrong[:2]} {err[-200:]}"] if code or wrong or "isvalid: true" not in out else []
