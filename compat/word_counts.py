"""Reads what the word count of `crash/job.py` writes."""
import collections
import json


class WordCounts:
    """What the word count has appended to its file, a line of JSON a batch."""

    def __init__(self, path):
        self.path, self.read, self.counts = path, 0, collections.Counter()

    def take(self):
        if self.path.exists():
            with open(self.path, "rb") as file:
                file.seek(self.read)
                for line in file:
                    if not line.endswith(b"\n"):
                        break  # still being written, or cut by a kill
                    self.read += len(line)
                    self.add(line)
        return self.counts

    def add(self, line):
        self.counts.update(json.loads(line) if line.strip() else {})

    def repeated(self):
        return sum(count - 1 for count in self.take().values())
