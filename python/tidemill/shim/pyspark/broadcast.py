"""Broadcast variables. Tasks run in this process, so a broadcast value is the value itself."""


class Broadcast:
    """A read-only value shared with all tasks."""

    def __init__(self, sc=None, value=None):
        self._value = value
        self._destroyed = False

    @property
    def value(self):
        if self._destroyed:
            raise RuntimeError("Attempted to use a broadcast variable after it was destroyed")
        return self._value

    def unpersist(self, blocking=False):
        """There is no copy to drop."""

    def destroy(self, blocking=False):
        self._destroyed = True
        self._value = None
