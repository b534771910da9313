"""Prints `passed failed skipped` as the last closing line of a test runner's log has them.

Understood: nextest's summary, cargo test's result lines (added up), pytest's last line, and the plain `N passed, N failed, N skipped`.
"""
import re
import sys

text = re.sub(r"\x1b\[[0-9;]*m", "", open(sys.argv[1], errors="replace").read())


def number(pattern, line):
    found = re.search(pattern, line)
    return int(found.group(1)) if found else 0


def counts(line):
    errors = number(r"(\d+) errors?\b", line)
    return number(r"(\d+) passed", line), number(r"(\d+) failed", line) + errors, number(r"(\d+) skipped", line)


cargo = re.findall(r"^test result: .*$", text, re.M)
closing = [line for line in text.splitlines() if re.search(r"\d+ (passed|failed|errors?)\b", line) and not line.startswith("test result")]
if cargo:
    rows = [counts(line.replace("ignored", "skipped")) for line in cargo]
    print(*(sum(column) for column in zip(*rows)))
elif closing:
    print(*counts(closing[-1]))
else:
    print(0, 0, 0)
