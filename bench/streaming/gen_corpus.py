#!/usr/bin/env python3
"""gen_corpus.py OUT LINES [SEED]: text that is the same for everybody.

20,000 made-up words of 2 to 12 letters, drawn by Zipf's law (s = 1.05); 5 to 15 words a line, 10 on average; ASCII, single spaces."""
import itertools
import random
import sys

WORDS = 20000
ZIPF = 1.05
LINES_AT_ONCE = 20000
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def vocabulary(rng):
    words = {}
    while len(words) < WORDS:
        syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(1, 6)))
        words["".join(syllables)[:rng.randint(2, 12)]] = None
    return list(words)


def main():
    out, lines = sys.argv[1], int(sys.argv[2])
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 42)
    words = vocabulary(rng)
    weights = list(itertools.accumulate(1.0 / (rank + 1) ** ZIPF for rank in range(len(words))))
    with open(out, "w") as f:
        for done in range(0, lines, LINES_AT_ONCE):
            lengths = [rng.randint(5, 15) for _ in range(min(LINES_AT_ONCE, lines - done))]
            drawn = iter(rng.choices(words, cum_weights=weights, k=sum(lengths)))
            f.writelines(" ".join(itertools.islice(drawn, length)) + "\n" for length in lengths)


main()
