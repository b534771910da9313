#!/usr/bin/env python3
"""process_tree.py SAMPLES COMMAND...: runs the command and writes, five times a second, what all its processes together have used of the CPU (seconds) and
hold in memory (resident bytes; proportional ones every second). Exits as the command does."""
import json
import os
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
STEP = 0.2
# smaps_rollup walks the page tables: dear for a large process.
PSS_EVERY = 5


def processes():
    """{pid: (parent, session, CPU seconds, resident bytes)}"""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as f:
                fields = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(name)] = (int(fields[1]), int(fields[3]), (int(fields[11]) + int(fields[12])) / TICKS, int(fields[21]) * PAGE)
    return found


def tree(found, root, known):
    """The root's session, those that were in the tree before, and children of all of these."""
    members = {pid for pid, values in found.items() if values[1] == root or pid in known}
    grown = True
    while grown:
        more = {pid for pid, values in found.items() if values[0] in members} - members
        members |= more
        grown = bool(more)
    return members


def proportional(pid):
    try:
        with open("/proc/%d/smaps_rollup" % pid) as f:
            return sum(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
    except OSError:
        return 0


def main():
    out, command = sys.argv[1], sys.argv[2:]
    begun = time.time()
    child = subprocess.Popen(command, start_new_session=True)
    cpu, members = {}, set()
    with open(out, "w", buffering=1) as f:
        f.write(json.dumps({"begun": begun, "t": begun, "cpu": 0, "rss": 0}) + "\n")
        for number in range(1 << 62):
            code = child.poll()
            found = processes()
            members = tree(found, child.pid, members)
            for pid in members:
                cpu[pid] = found[pid][2]
            sample = {"t": time.time(), "cpu": sum(cpu.values()), "rss": sum(found[pid][3] for pid in members)}
            if number % PSS_EVERY == 0:
                sample["pss"] = sum(map(proportional, members))
            f.write(json.dumps(sample) + "\n")
            if code is not None:
                break
            time.sleep(STEP)
    sys.exit(code)


main()
