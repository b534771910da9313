"""Where an RDD is kept. Everything here is in memory: the levels are accepted and remembered."""


class StorageLevel:
    """Flags of a storage level, as in Spark."""

    def __init__(self, useDisk, useMemory, useOffHeap, deserialized, replication=1):
        self.useDisk = useDisk
        self.useMemory = useMemory
        self.useOffHeap = useOffHeap
        self.deserialized = deserialized
        self.replication = replication

    def _flags(self):
        return self.useDisk, self.useMemory, self.useOffHeap, self.deserialized, self.replication

    def __eq__(self, other):
        return isinstance(other, StorageLevel) and self._flags() == other._flags()

    def __hash__(self):
        return hash(self._flags())

    def __repr__(self):
        return "StorageLevel(%s, %s, %s, %s, %s)" % self._flags()

    def __str__(self):
        words = ["Disk "] if self.useDisk else []
        words += ["Memory "] if self.useMemory else []
        words += ["OffHeap "] if self.useOffHeap else []
        words += ["Deserialized " if self.deserialized else "Serialized ", "%sx Replicated" % self.replication]
        return "".join(words)


StorageLevel.DISK_ONLY = StorageLevel(True, False, False, False)
StorageLevel.DISK_ONLY_2 = StorageLevel(True, False, False, False, 2)
StorageLevel.MEMORY_ONLY = StorageLevel(False, True, False, False)
StorageLevel.MEMORY_ONLY_2 = StorageLevel(False, True, False, False, 2)
StorageLevel.MEMORY_AND_DISK = StorageLevel(True, True, False, False)
StorageLevel.MEMORY_AND_DISK_2 = StorageLevel(True, True, False, False, 2)
StorageLevel.OFF_HEAP = StorageLevel(True, True, True, False, 1)
StorageLevel.MEMORY_ONLY_SER = StorageLevel.MEMORY_ONLY
StorageLevel.MEMORY_ONLY_SER_2 = StorageLevel.MEMORY_ONLY_2
StorageLevel.MEMORY_AND_DISK_SER = StorageLevel.MEMORY_AND_DISK
StorageLevel.MEMORY_AND_DISK_SER_2 = StorageLevel.MEMORY_AND_DISK_2
