#!/usr/bin/env python3
"""feeder.py CORPUS RATE SECONDS: lines of the corpus on stdout, RATE a second, for SECONDS; begins again where the corpus ends."""
import itertools
import sys
import time

GROUP = 100
PAUSE = 0.002


def main():
    corpus, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    with open(corpus, "rb") as f:
        lines = f.readlines()
    groups = [b"".join(lines[at:at + GROUP]) for at in range(0, len(lines) - GROUP + 1, GROUP)]
    begun, sent = time.monotonic(), 0
    for group in itertools.cycle(groups):
        while (since := time.monotonic() - begun) * rate < sent:
            time.sleep(PAUSE)
        if since >= seconds:
            break
        sys.stdout.buffer.write(group)
        sys.stdout.buffer.flush()
        sent += GROUP


try:
    main()
except BrokenPipeError:
    # Whoever read has ended, which ends this too.
    sys.stdout = None
