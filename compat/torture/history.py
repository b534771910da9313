"""What happened, in the order in which it was seen: one dict an operation, a line of JSON each where a run has to be looked at.

| f | fields |
|---|---|
| send | type ok, fail (certainly not stored) or info (nobody knows); process, key, value, offset (ok alone; None where the client was not told), sent, burst |
| poll | process, group (or None), records: a list of [key, offset, value] of one call |
| assign | process: it starts anew where it likes |
| subscribe | process, group, keys: a member was given partitions |
| commit | process, group, key, offset, invoked, type invoke, then ok where it was confirmed: everything below the offset is done with |
| watermark | process, key, offset, invoked: the end that a reader may read to, as a broker told it |
| error | process, what: what a client was told that it must never be told |
| read, write, cas | of a register: process, key, type, value, version (of what was read or written), expected (cas), invoked |
| sequence | process, key, number, invoked: a sequential node of a parent |
| fault | name, begin, healed, recovered, whole: moments; limit: seconds from healed to recovered |

Each has its time. A key is "topic-partition" or the path of a znode; moments are seconds of the machine's monotonic clock, which all processes share.
"""
import threading
import time


class History:
    def __init__(self):
        self.operations, self.lock = [], threading.Lock()
        self.acknowledged = {}  # {key: moments of acknowledgements}

    def add(self, f, **fields):
        operation = {"f": f, "time": time.monotonic(), **fields}
        with self.lock:
            self.operations.append(operation)
            if f == "send" and fields["type"] == "ok":
                self.acknowledged.setdefault(fields["key"], []).append(operation["time"])

    def taken(self):
        with self.lock:
            return list(self.operations)

    def acknowledged_since(self, key, moment):
        """The moment of the first acknowledgement of a record of this key after another moment; None where there was none."""
        with self.lock:
            times = self.acknowledged.get(key, [])
            at = len(times)
            while at and times[at - 1] >= moment:
                at -= 1
            return times[at] if at < len(times) else None

    def longest_silence(self, key, begin, end):
        """Seconds between two moments in which no record of this key was acknowledged, at most."""
        with self.lock:
            times = [begin, *(moment for moment in self.acknowledged.get(key, []) if begin < moment < end), end]
        return max(later - sooner for sooner, later in zip(times, times[1:]))
