"""What a history must not hold: pure functions from the operations of `history` to anomalies, by the names of Jepsen's Kafka workload where it has one.

| anomaly | what was seen |
|---|---|
| lost-write | an acknowledged record below the highest offset anybody read, which nobody read |
| unseen | an acknowledged record that nobody read by the time everything had been read to its end |
| duplicate | one record at two offsets, or in two partitions |
| inconsistent-offsets | two records at one offset |
| aborted-read | a record whose producer was told that it was not stored (G1a) |
| never-sent | a record that no producer had |
| hole | an offset below the end at which nobody found anything: without transactions and compaction there is none |
| poll-skip, nonmonotonic-poll | between two polls: records left out; an offset not above the last |
| int-poll-skip, int-nonmonotonic-poll | the same within one poll |
| nonmonotonic-send, int-nonmonotonic-send | two records of a producer stored in another order than sent: in two bursts, in one |
| client-error | what a client may never be told, such as a position out of range or a gap in its sequence |
| nonmonotonic-watermark | an end of a partition that went back |
| commit-beyond-processed, nonmonotonic-commit, resumed-elsewhere | of a group: a commit above what was read; one below an earlier one; a start not between what was confirmed and what was asked for |
| nonlinearizable | of a register, of sequential nodes: no order of the operations explains what they saw |
| slow-recovery | no acknowledgement within the limit after a fault was over |
| needless-silence | none for longer than that during a fault that takes no election |

With `subscribe`, polls may skip and go back when partitions move, as with any Kafka; with at-least-once a group reads records twice. Records of other
producers between two sends (int-send-skip) are no anomaly.
"""
import bisect
import collections

EXAMPLES_MAX = 20  # of each anomaly, in the report


class Log:
    """What is known of the order of each partition: {key: {offset: values}}, and where each value stands."""

    def __init__(self, operations):
        self.at, self.places = collections.defaultdict(lambda: collections.defaultdict(set)), collections.defaultdict(set)
        self.sends, self.read, self.highest = {}, set(), collections.defaultdict(lambda: -1)
        for operation in operations:
            if operation["f"] == "send":
                self.sends[operation["value"]] = operation
                if operation["type"] == "ok" and operation["offset"] is not None:
                    self.put(operation["key"], operation["offset"], operation["value"])
            elif operation["f"] == "poll":
                for key, offset, value in operation["records"]:
                    self.put(key, offset, value)
                    self.read.add(value)
                    self.highest[key] = max(self.highest[key], offset)
        self.offsets = {key: sorted(offsets) for key, offsets in self.at.items()}

    def put(self, key, offset, value):
        self.at[key][offset].add(value)
        self.places[value].add((key, offset))

    def between(self, key, low, high):
        """Known offsets above one and below the other."""
        offsets = self.offsets.get(key, [])
        return offsets[bisect.bisect_right(offsets, low):bisect.bisect_left(offsets, high)]


def acknowledged(operations):
    return [operation for operation in operations if operation["f"] == "send" and operation["type"] == "ok"]


def records(operations, contiguous=True):
    """Anomalies of what was stored and read, over all producers and readers of the topics."""
    log, found = Log(operations), collections.defaultdict(list)
    for send in acknowledged(operations):
        if send["value"] not in log.read:
            below = send["offset"] is not None and send["offset"] <= log.highest[send["key"]]
            found["lost-write" if below else "unseen"].append(send)
    for value, places in log.places.items():
        if len(places) > 1:
            found["duplicate"].append({"value": value, "places": sorted(places)})
        send = log.sends.get(value)
        if send is None:
            found["never-sent"].append({"value": value, "places": sorted(places)})
        elif send["type"] == "fail" and value in log.read:
            found["aborted-read"].append(send)
        elif len(places) == 1 and next(iter(places))[0] != send["key"]:
            found["duplicate"].append({"value": value, "sent to": send["key"], "places": sorted(places)})
    for key, offsets in log.at.items():
        found["inconsistent-offsets"] += [{"key": key, "offset": offset, "values": sorted(values, key=str)} for offset, values in offsets.items() if len(values) > 1]
        known = log.offsets[key]
        if contiguous:
            edges = [-1, *known]
            found["hole"] += [{"key": key, "above": low, "below": high} for low, high in zip(edges, edges[1:]) if high > low + 1]
    return clean(found)


def polls(operations):
    """Anomalies of each reader that assigned its partitions itself; one that subscribed is judged within each poll alone."""
    log, found = Log(operations), collections.defaultdict(list)
    position, subscribed = {}, set()
    for operation in operations:
        process = operation.get("process")
        if operation["f"] in ("assign", "subscribe"):
            position = {place: offset for place, offset in position.items() if place[0] != process}
            (subscribed.add if operation["f"] == "subscribe" else subscribed.discard)(process)
        elif operation["f"] == "poll":
            before = {}
            for key, offset, _ in operation["records"]:
                inside = key in before
                last = before[key] if inside else None if process in subscribed else position.get((process, key))
                prefix = "int-" if inside else ""
                if last is not None and offset <= last:
                    found[f"{prefix}nonmonotonic-poll"].append({"process": process, "key": key, "after": last, "came": offset, "time": operation["time"]})
                elif last is not None and log.between(key, last, offset):
                    found[f"{prefix}poll-skip"].append({"process": process, "key": key, "after": last, "came": offset, "time": operation["time"]})
                before[key] = offset
            position.update({(process, key): offset for key, offset in before.items()})
    return clean(found)


def sends(operations):
    """Whether each producer's records stand in the order in which it sent them, whoever told the offset."""
    log, found = Log(operations), collections.defaultdict(list)
    last = {}
    for send in sorted((operation for operation in operations if operation["f"] == "send"), key=lambda send: send["sent"]):
        # One that failed, or of which nobody knows, is in its place where a reader found it.
        offsets = [offset for key, offset in log.places.get(send["value"], ()) if key == send["key"]]
        if not offsets:
            continue
        offset, lane = min(offsets), (send["process"], send["key"])
        if lane in last and offset < last[lane][0]:
            inside = send.get("burst") is not None and send["burst"] == last[lane][1].get("burst")
            found["int-nonmonotonic-send" if inside else "nonmonotonic-send"].append({"first": last[lane][1], "then": send, "at": [last[lane][0], offset]})
        last[lane] = (offset, send)
    return clean(found)


def fall(highest, operation):
    """Notes an answer, and gives what is wrong with it: an offset below one that was told before this was asked for. Asked before the other answer came, either may be the later one."""
    before = highest.get(operation["key"])
    if not before or operation["offset"] > before["offset"]:
        highest[operation["key"]] = operation
    fell = before and operation["offset"] < before["offset"] and operation["invoked"] > before["time"]
    return [{"before": before, "after": operation}] if fell else []


def watermarks(operations):
    found, highest = collections.defaultdict(list), {}
    for operation in sorted((operation for operation in operations if operation["f"] == "watermark"), key=lambda operation: operation["time"]):
        found["nonmonotonic-watermark"] += fall(highest, operation)
    return clean(found)


def client_errors(operations):
    return clean({"client-error": [operation for operation in operations if operation["f"] == "error"]})


def group(operations, name):
    """Anomalies of one consumer group that commits what it has read; its polls carry its name."""
    found, log = collections.defaultdict(list), Log(operations)
    read = collections.defaultdict(set)     # offsets of each key that the group has read
    done = collections.defaultdict(int)     # below which it has read everything
    confirmed, asked = {}, collections.defaultdict(int)
    starting = {}                           # what was confirmed when a member was given a partition, until it reads from it
    for operation in sorted((operation for operation in operations if operation.get("group") == name), key=lambda operation: operation["time"]):
        process = operation["process"]
        if operation["f"] == "subscribe":
            starting = {place: low for place, low in starting.items() if place[0] != process}
            starting |= {(process, key): confirmed[key]["offset"] if key in confirmed else 0 for key in operation["keys"]}
        elif operation["f"] == "poll":
            for key, offset, _ in operation["records"]:
                low = starting.pop((process, key), None)
                if low is not None and not low <= offset <= max(asked[key], low):
                    found["resumed-elsewhere"].append({"process": process, "key": key, "at": offset, "confirmed": low, "asked": asked[key], "time": operation["time"]})
                read[key].add(offset)
        elif operation["f"] == "commit" and operation["type"] == "invoke":
            key = operation["key"]
            asked[key] = max(asked[key], operation["offset"])
            while done[key] in read[key]:
                done[key] += 1
            missing = [offset for offset in log.between(key, done[key] - 1, operation["offset"]) if offset not in read[key]]
            if missing:
                found["commit-beyond-processed"].append({"commit": operation, "not read": missing[:5]})
        elif operation["f"] == "commit" and operation["type"] == "ok":
            found["nonmonotonic-commit"] += fall(confirmed, operation)
    return clean(found)


def at_least_once(operations, seen):
    """Of a consumer whose offsets nobody recorded: every acknowledged value came, and none that was never sent. `seen` counts each value that came."""
    sent = {operation["value"] for operation in operations if operation["f"] == "send"}
    return clean({
        "unseen": [send for send in acknowledged(operations) if send["value"] not in seen],
        "never-sent": [{"value": value} for value in seen if value not in sent]})


def registers(operations):
    """Registers whose every operation tells the version it wrote or read: a history is linearizable where versions follow real time and each version has one value.

    A write that nobody knows the outcome of may have made any version, so it explains one value that others saw, at any moment after it was invoked.
    """
    found = collections.defaultdict(list)
    by_key = collections.defaultdict(list)
    for operation in operations:
        if operation["f"] in ("read", "write", "cas"):
            by_key[operation["key"]].append(operation)
    for key, mine in by_key.items():
        known = [operation for operation in mine if operation["type"] == "ok"]
        writers, unknown = {}, {operation["value"]: operation for operation in mine if operation["type"] == "info" and operation["f"] != "read"}
        for operation in known:
            if operation["f"] != "read":
                if operation["version"] in writers:
                    found["nonlinearizable"].append({"why": "two writes made one version", "one": writers[operation["version"]], "other": operation})
                writers[operation["version"]] = operation
            if operation["f"] == "cas" and operation["version"] != operation["expected"] + 1:
                found["nonlinearizable"].append({"why": "a swap made a version that does not follow the one it expected", "cas": operation})
        values = {}
        for operation in known:
            version, value = operation["version"], operation["value"]
            if values.setdefault(version, value) != value:
                found["nonlinearizable"].append({"why": "one version has two values", "key": key, "version": version, "values": [values[version], value]})
            if operation["f"] == "read" and version not in writers and version > 0:
                writer = unknown.get(value)
                if writer is None:
                    found["nonlinearizable"].append({"why": "nobody wrote what was read", "read": operation})
                elif writer["invoked"] > operation["time"]:
                    found["nonlinearizable"].append({"why": "it was read before it was written", "read": operation, "write": writer})
        found["nonlinearizable"] += _against_real_time(known)
        found["nonlinearizable"] += _refused_for_nothing(key, mine, writers)
    return clean(found)


def _against_real_time(known):
    """An operation that began after another had ended must not see an older version, nor write the same one."""
    found = []
    ended = sorted(known, key=lambda operation: operation["time"])
    highest, at = None, 0
    for operation in sorted(known, key=lambda operation: operation["invoked"]):
        while at < len(ended) and ended[at]["time"] < operation["invoked"]:
            if highest is None or ended[at]["version"] > highest["version"]:
                highest = ended[at]
            at += 1
        least = highest["version"] + (operation["f"] != "read") if highest else 0
        if operation["version"] < least:
            found.append({"why": "older than what had been seen", "operation": operation, "seen before": highest})
    return found


def _refused_for_nothing(key, mine, writers):
    """A swap that was refused although the version it expected was the current one all the while."""
    found = []
    if any(operation["type"] == "info" and operation["f"] != "read" for operation in mine):
        # One of these may have been the reason, before somebody else's write covered it.
        return found
    for operation in mine:
        if operation["f"] == "cas" and operation["type"] == "fail":
            made, next_made = writers.get(operation["expected"]), writers.get(operation["expected"] + 1)
            if made and made["time"] < operation["invoked"] and (next_made is None or next_made["invoked"] > operation["time"]):
                found.append({"why": "refused although it expected the current version", "key": key, "cas": operation})
    return found


def sequences(operations):
    """Sequential nodes of one parent: no number twice, and a later one above an earlier one."""
    found = collections.defaultdict(list)
    mine = [operation for operation in operations if operation["f"] == "sequence"]
    for number, count in collections.Counter((operation["key"], operation["number"]) for operation in mine).items():
        if count > 1:
            found["nonlinearizable"].append({"why": "one number was given twice", "number": number})
    ended = sorted(mine, key=lambda operation: operation["time"])
    highest, at = {}, 0
    for operation in sorted(mine, key=lambda operation: operation["invoked"]):
        while at < len(ended) and ended[at]["time"] < operation["invoked"]:
            highest[ended[at]["key"]] = max(highest.get(ended[at]["key"], -1), ended[at]["number"])
            at += 1
        if operation["number"] < highest.get(operation["key"], -1):
            found["nonlinearizable"].append({"why": "below a number that had been given", "operation": operation, "given": highest[operation["key"]]})
    return clean(found)


def recoveries(operations):
    """Faults after which nobody was served within the limit; and those that nobody should have noticed for longer, because they take no election."""
    all_faults = [operation for operation in operations if operation["f"] == "fault"]
    return clean({"slow-recovery": [fault for fault in all_faults if fault["recovered"] is None or fault["recovered"] - fault["healed"] > fault["limit"]],
                  "needless-silence": [fault for fault in all_faults if fault["is_served_through"] and fault["silence"] > fault["limit"]]})


def clean(found):
    return {name: anomalies for name, anomalies in found.items() if anomalies}


def merge(*results):
    merged = collections.defaultdict(list)
    for result in results:
        for name, anomalies in result.items():
            merged[name] += anomalies
    return dict(merged)


def without(result, *allowed):
    """What is left when some names are allowed: duplicates where the producer is not idempotent."""
    return {name: anomalies for name, anomalies in result.items() if name not in allowed}


def text(result):
    return "; ".join(f"{len(anomalies)} {name}, such as {anomalies[:2]}" for name, anomalies in sorted(result.items()))
