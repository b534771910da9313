"""Servers on addresses of the loopback network of their own, 127.x.y.n: no namespaces, so no partitions, and no root."""
import os


class Host:
    def __init__(self, name, address):
        self.name, self.address = name, address

    def inside(self, command):
        return [str(word) for word in command]


class Loopback:
    """Takes the place of the torture rig's network where nothing is cut."""

    def __init__(self):
        # Of this process's own, so that two runs do not meet.
        self.prefix = f"127.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}"
        self.hosts = {}

    def add(self, name):
        self.hosts[name] = Host(name, f"{self.prefix}.{len(self.hosts) + 1}")
        return self.hosts[name]
