"""The checker is held against histories in which each anomaly was planted, and against one without any: a checker that cannot fail is a defect."""
import pathlib
import struct
import tempfile

import checker
import replicas
from harness import Failed, expect

KEY, OTHER = "t-0", "t-1"


def send(value, offset, key=KEY, type="ok", process="p", sent=None, burst=None):
    return {"f": "send", "type": type, "process": process, "key": key, "value": value, "offset": offset, "sent": value if sent is None else sent, "burst": burst, "time": value}


def poll(*records, process="r", group=None, time=100):
    return {"f": "poll", "process": process, "group": group, "records": [list(record) for record in records], "time": time}


def run_of(values, key=KEY):
    return [(key, value, value) for value in values]


def commit(offset, invoked, type="ok", process="m1", time=None):
    return {"f": "commit", "type": type, "process": process, "group": "g", "key": KEY, "offset": offset, "invoked": invoked, "time": invoked if time is None else time}


def subscribe(process, time, *keys):
    return {"f": "subscribe", "process": process, "group": "g", "keys": list(keys or [KEY]), "time": time}


def register(f, invoked, time, version, value, type="ok", **more):
    return {"f": f, "key": "/r", "process": "k", "invoked": invoked, "time": time, "version": version, "value": value, "type": type, **more}


def sequence(invoked, time, number):
    return {"f": "sequence", "key": "/q", "process": "k", "invoked": invoked, "time": time, "number": number}


def fault(recovered, limit=11, silence=0, is_served_through=False):
    return {"f": "fault", "name": "kill", "begin": 0, "healed": 10, "recovered": recovered, "whole": recovered, "limit": limit, "silence": silence,
            "is_served_through": is_served_through, "time": 30}


FIVE = [send(value, value) for value in range(5)]
READ = [poll(*run_of(range(5)))]

# What is planted, where the checker looks for it, and what it must find there; nothing else.
PLANTED = [
    ("all is well", checker.records, FIVE + READ, []),
    ("an unknown outcome that is not there", checker.records, FIVE + [send(5, None, type="info")] + READ, []),
    ("an unknown outcome that is there", checker.records, FIVE + [send(5, None, type="info"), poll(*run_of(range(6)))], []),
    ("an acknowledgement without an offset", checker.records, [send(0, None), poll(*run_of([0]))], []),
    ("another record stands where one was acknowledged", checker.records, FIVE + [send(9, None, type="info"), poll((KEY, 0, 0), (KEY, 1, 9), *run_of([2, 3, 4]))],
     ["inconsistent-offsets", "lost-write"]),
    ("an acknowledged record that a reader passed", checker.records, FIVE + [poll(*run_of([0, 1, 3, 4]))], ["lost-write"]),
    ("an acknowledged record at the end, cut off", checker.records, FIVE + [poll(*run_of(range(4)))], ["unseen"]),
    ("an acknowledged record without an offset, gone", checker.records, FIVE + READ + [send(5, None)], ["unseen"]),
    ("a batch stored twice", checker.records, FIVE + [poll(*run_of(range(5)), (KEY, 5, 4))], ["duplicate"]),
    ("a record in another partition as well", checker.records, FIVE + READ + [poll((OTHER, 0, 3))], ["duplicate"]),
    ("a record in another partition alone", checker.records, [send(0, None), poll((OTHER, 0, 0))], ["duplicate"]),
    ("two readers see two logs", checker.records, FIVE + READ + [send(5, 5), send(6, None, type="info"), poll((KEY, 5, 5)), poll((KEY, 5, 6))], ["inconsistent-offsets"]),
    ("a record that was refused", checker.records, FIVE + [send(5, None, type="fail"), poll(*run_of(range(6)))], ["aborted-read"]),
    ("a record from nowhere", checker.records, FIVE + [poll(*run_of(range(5)), (KEY, 5, 77))], ["never-sent"]),
    ("offsets at which nobody finds anything", checker.records, [send(0, 0), send(1, 3), poll((KEY, 0, 0), (KEY, 3, 1))], ["hole"]),
    ("a log that does not begin at its beginning", checker.records, [send(0, 2), poll((KEY, 2, 0))], ["hole"]),

    ("polls that follow on", checker.polls, FIVE + [poll(*run_of([0, 1])), poll(*run_of([2, 3, 4]))], []),
    ("a reader that starts again", checker.polls, FIVE + READ + [{"f": "assign", "process": "r", "time": 5}] + READ, []),
    ("two readers do not disturb each other", checker.polls, FIVE + READ + [poll(*run_of(range(5)), process="s")], []),
    ("records left out between two polls", checker.polls, FIVE + [poll(*run_of([0, 1])), poll(*run_of([3, 4]))], ["poll-skip"]),
    ("records left out in one poll", checker.polls, FIVE + [poll(*run_of([0, 1, 4]))], ["int-poll-skip"]),
    ("a reader that goes back", checker.polls, FIVE + [poll(*run_of([0, 1, 2])), poll(*run_of([2, 3]))], ["nonmonotonic-poll"]),
    ("a poll that goes back", checker.polls, FIVE + [poll(*run_of([0, 2, 1]))], ["int-nonmonotonic-poll", "int-poll-skip"]),
    ("a member may skip and go back between polls", checker.polls, FIVE + [subscribe("r", 1), poll(*run_of([0, 1])), poll(*run_of([4])), poll(*run_of([1, 2]))], []),
    ("a member may not skip in one poll", checker.polls, FIVE + [subscribe("r", 1), poll(*run_of([0, 4]))], ["int-poll-skip"]),

    ("sends in order", checker.sends, FIVE, []),
    ("two producers need no order between them", checker.sends, [send(0, 1, process="a"), send(1, 0, process="b")], []),
    ("two sends that changed places", checker.sends, [send(0, 1), send(1, 0)], ["nonmonotonic-send"]),
    ("two sends of one burst that changed places", checker.sends, [send(0, 1, burst=7), send(1, 0, burst=7)], ["int-nonmonotonic-send"]),
    ("a send of unknown outcome that a reader finds behind a later one", checker.sends, [send(0, None, type="info"), send(1, 0), poll((KEY, 0, 1), (KEY, 1, 0))], ["nonmonotonic-send"]),

    ("an end that rises", checker.watermarks, [{"f": "watermark", "key": KEY, "offset": at, "invoked": at, "time": at + 0.5} for at in (1, 2, 3)], []),
    ("an end that goes back", checker.watermarks, [{"f": "watermark", "key": KEY, "offset": 9 - at, "invoked": at, "time": at + 0.5} for at in (1, 2)], ["nonmonotonic-watermark"]),
    ("two ends asked for at once", checker.watermarks, [{"f": "watermark", "key": KEY, "offset": 9 - at, "invoked": 0, "time": at} for at in (1, 2)], []),

    ("a position out of range", checker.client_errors, [{"f": "error", "process": "r", "what": "out of range", "time": 1}], ["client-error"]),

    ("a recovery in time", checker.recoveries, [fault(20)], []),
    ("a recovery too late", checker.recoveries, [fault(21.5)], ["slow-recovery"]),
    ("no recovery", checker.recoveries, [fault(None)], ["slow-recovery"]),
    ("a silence that the fault explains", checker.recoveries, [fault(20, silence=25)], []),
    ("a silence that nothing explains", checker.recoveries, [fault(20, silence=25, is_served_through=True)], ["needless-silence"]),
    ("a short silence", checker.recoveries, [fault(20, silence=3, is_served_through=True)], []),

    ("a register in order", checker.registers, [register("write", 0, 1, 1, "a"), register("read", 2, 3, 1, "a"), register("cas", 4, 5, 2, "b", expected=1),
                                                register("cas", 6, 7, None, "c", type="fail", expected=1), register("read", 8, 9, 2, "b")], []),
    ("a read overtakes a write that is under way", checker.registers, [register("write", 0, 9, 1, "a"), register("read", 1, 2, 1, "a"), register("read", 3, 4, 1, "a")], []),
    ("an old read that began before the write ended", checker.registers, [register("write", 0, 1, 1, "a"), register("write", 2, 6, 2, "b"), register("read", 3, 7, 1, "a")], []),
    ("a stale read", checker.registers, [register("write", 0, 1, 1, "a"), register("write", 2, 3, 2, "b"), register("read", 4, 5, 1, "a")], ["nonlinearizable"]),
    ("a lost write", checker.registers, [register("write", 0, 1, 1, "a"), register("write", 2, 3, 1, "b")], ["nonlinearizable"]),
    ("one version, two values", checker.registers, [register("write", 0, 1, 1, "a"), register("read", 2, 3, 1, "b")], ["nonlinearizable"]),
    ("a swap that did not look", checker.registers, [register("write", 0, 1, 1, "a"), register("cas", 2, 3, 3, "c", expected=1)], ["nonlinearizable"]),
    ("a swap refused for nothing", checker.registers, [register("write", 0, 1, 1, "a"), register("cas", 2, 3, None, "b", type="fail", expected=1)], ["nonlinearizable"]),
    ("a value from nowhere", checker.registers, [register("read", 2, 3, 4, "x")], ["nonlinearizable"]),
    ("a write of unknown outcome that is read later", checker.registers, [register("write", 0, 1, None, "a", type="info"), register("read", 2, 3, 1, "a")], []),
    ("sequential nodes in order", checker.sequences, [sequence(0, 1, 4), sequence(2, 3, 5)], []),
    ("sequential nodes asked for at once", checker.sequences, [sequence(0, 3, 5), sequence(1, 2, 4)], []),
    ("a number given twice", checker.sequences, [sequence(0, 1, 4), sequence(2, 3, 4)], ["nonlinearizable"]),
    ("numbers that go back", checker.sequences, [sequence(0, 1, 5), sequence(2, 3, 4)], ["nonlinearizable"]),
    ("a value read before anybody wrote it", checker.registers, [register("read", 0, 1, 1, "a"), register("write", 2, 3, None, "a", type="info")], ["nonlinearizable"]),
]

GROUPS = [
    ("a group in order", [subscribe("m1", 1), poll(*run_of([0, 1]), process="m1", group="g", time=2), commit(2, 3, "invoke"), commit(2, 3, time=4),
                          subscribe("m2", 5), poll(*run_of([2, 3]), process="m2", group="g", time=6)], []),
    ("a member killed after its commit was asked for", [subscribe("m1", 1), poll(*run_of([0, 1]), process="m1", group="g", time=2), commit(2, 3, "invoke"),
                                                        subscribe("m2", 5), poll(*run_of([2]), process="m2", group="g", time=6)], []),
    ("a member killed before its commit", [subscribe("m1", 1), poll(*run_of([0, 1]), process="m1", group="g", time=2),
                                           subscribe("m2", 5), poll(*run_of([0]), process="m2", group="g", time=6)], []),
    ("a commit above what was read", [subscribe("m1", 1), poll(*run_of([0, 1]), process="m1", group="g", time=2), commit(4, 3, "invoke")], ["commit-beyond-processed"]),
    ("a commit that was forgotten", [subscribe("m1", 1), poll(*run_of([0, 1, 2]), process="m1", group="g", time=2), commit(3, 3, "invoke"), commit(3, 3, time=4),
                                     subscribe("m2", 5), poll(*run_of([0]), process="m2", group="g", time=6)], ["resumed-elsewhere"]),
    ("a start beyond every commit", [subscribe("m1", 1), poll(*run_of([0, 1]), process="m1", group="g", time=2), commit(1, 3, "invoke"), commit(1, 3, time=4),
                                     subscribe("m2", 5), poll(*run_of([3]), process="m2", group="g", time=6)], ["resumed-elsewhere"]),
    ("a commit that goes back", [subscribe("m1", 1), poll(*run_of([0, 1, 2]), process="m1", group="g", time=2), commit(3, 3, "invoke"), commit(3, 3, time=4),
                                 commit(2, 5, "invoke"), commit(2, 5, time=6)], ["nonmonotonic-commit"]),
]


def planted(function, operations, names):
    result = function(operations)
    expect(sorted(result), names, f"what was found, {checker.text(result)}")


def at_least_once():
    expect(sorted(checker.at_least_once(FIVE, {value: 2 for value in range(5)})), [], "of a consumer that saw everything twice")
    expect(sorted(checker.at_least_once(FIVE, {value: 1 for value in range(4)})), ["unseen"], "of a consumer that missed one")
    expect(sorted(checker.at_least_once(FIVE, {value: 1 for value in range(6)})), ["never-sent"], "of a consumer that made one up")


def check_the_checker():
    for name, function, operations, names in PLANTED:
        try:
            planted(function, operations, names)
        except Failed as error:
            raise Failed(f"{name}: {error}") from None
    for name, operations, names in GROUPS:
        try:
            planted(lambda history: checker.group(history, "g"), FIVE + operations, names)
        except Failed as error:
            raise Failed(f"{name}: {error}") from None
    at_least_once()
    without_a_plant = {name for row in PLANTED for name in row[3]} | {name for row in GROUPS for name in row[2]}
    documented = {name.strip() for line in checker.__doc__.splitlines() if line.startswith("| ") for name in line.split("|")[1].split(",")} - {"anomaly"}
    expect(sorted(documented - without_a_plant), [], "anomalies that no history was planted with")


def batch(base, count, body, magic=2):
    """As on disk, as far as the comparison looks."""
    rest = struct.pack(">ibIhi", 0, magic, 0, 0, count - 1) + body
    return struct.pack(">qi", base, len(rest)) + rest


def check_the_comparison():
    """Replicas with the same bytes, however they are cut into segments; then one byte, one offset, one batch that differs, and damage."""
    whole = [batch(0, 2, b"one, two"), batch(2, 1, b"three"), batch(3, 1, b"four")]
    rows = [
        ("the same", [b"".join(whole)], [whole[0], whole[1] + whole[2]], 4, 0),
        ("beyond the end", [b"".join(whole)], [whole[0] + whole[1]], 3, 0),
        ("a byte", [b"".join(whole)], [whole[0] + whole[1].replace(b"three", b"thrEe") + whole[2]], 4, 1),
        ("a batch less", [b"".join(whole)], [whole[0] + whole[1]], 4, 1),
        ("an offset", [b"".join(whole)], [whole[0] + batch(2, 2, b"three")], 4, 1),
        ("nothing at all", [b"".join(whole)], [], 4, 1),
        ("a torn batch", [b"".join(whole)], [b"".join(whole)[:-1]], 4, 1),
        ("an offset that goes back", [b"".join(whole)], [b"".join(whole) + whole[0]], 4, 1),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, one, other, end, expected) in enumerate(rows):
            folders = {}
            for replica, segments in (("one", one), ("other", other)):
                folders[replica] = pathlib.Path(folder) / f"{number}-{replica}"
                folders[replica].mkdir()
                for at, segment in enumerate(segments):
                    (folders[replica] / f"{at:020}.log").write_bytes(segment)
            expect(len(replicas.differences(folders, end)), expected, f"differences found: {name}, {replicas.differences(folders, end)};")
