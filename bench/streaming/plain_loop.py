#!/usr/bin/env python3
"""plain_loop.py CORPUS LINES LOG [--message]: the tutorial's lambdas called in a loop, by nothing but the interpreter.

The lines lie in memory before the clock starts. With --message they lie there as (key, value) pairs, and the lambda that takes the value is called
too: the chain of a job that reads Kafka."""
import json
import sys
import time


def main():
    corpus, wanted, log = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with open(corpus) as f:
        lines = f.read().split("\n")
    lines.pop()
    lines = [lines[at % len(lines)] for at in range(wanted)]
    split, pair, add = lambda line: line.split(" "), lambda word: (word, 1), lambda x, y: x + y
    if "--message" in sys.argv:
        messages, value = [(None, line) for line in lines], lambda message: message[1]
        begun = time.perf_counter()
        counts = count_messages(messages, value, split, pair, add)
    else:
        begun = time.perf_counter()
        counts = count(lines, split, pair, add)
    seconds = time.perf_counter() - begun
    with open(log, "w") as f:
        json.dump({"ev": "loop", "lines": wanted, "words": sum(counts.values()), "keys": len(counts), "seconds": seconds}, f)


def count(lines, split, pair, add):
    counts = {}
    for line in lines:
        for word in split(line):
            key, one = pair(word)
            counts[key] = add(counts[key], one) if key in counts else one
    return counts


def count_messages(messages, value, split, pair, add):
    counts = {}
    for message in messages:
        for word in split(value(message)):
            key, one = pair(word)
            counts[key] = add(counts[key], one) if key in counts else one
    return counts


main()
