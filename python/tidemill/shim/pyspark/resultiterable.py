"""The values of one key after a grouping: iterable more than once, with a length."""
import collections.abc


class ResultIterable(collections.abc.Iterable):
    """Wraps the list of values."""

    def __init__(self, data):
        self.data = data
        self.index = 0
        self.maxindex = len(data)

    def __iter__(self):
        return iter(self.data)

    def __len__(self):
        return len(self.data)
