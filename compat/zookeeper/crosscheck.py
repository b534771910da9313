#!/usr/bin/env python3
"""Sends the same random requests to two ZooKeeper servers and compares every reply, byte by byte but for zxids, times and session ids.

    crosscheck.py OUR_PORT REFERENCE_PORT [--seed N] [--steps N]

The reference is a standalone Apache ZooKeeper with extendedTypesEnabled=true (Debian's package `zookeeper` will do). Two sessions on each server take turns, so that one session's
changes fire the other's watches. zxids are compared as their distance from the first one of the run. Exits 0 when all replies agree, 1 at the first difference, with the steps that led there.
"""
import argparse
import random
import re
import socket
import struct
import sys
import uuid

NAMES = ["a", "b", "c", "a/x", "a/y", "b/x", "a/x/1", "q", "seq"]
# Persistent watches are set on these and one-shot ones on the others: 3.8.0 forgets one kind when both are on one path (ZOOKEEPER-4466), we do not.
PERSISTENT_NAMES = ["p", "p/x", "p/x/1"]
WORLD = [(31, b"world", b"anyone")]


def text(value):
    return struct.pack(">i", len(value)) + value


def acls(entries):
    return struct.pack(">i", len(entries)) + b"".join(struct.pack(">i", perms) + text(s) + text(i) for perms, s, i in entries)


def multi_header(op, done=0):
    return struct.pack(">ibi", op, done, -1)


class Session:
    def __init__(self, port, password=b"\0" * 16, session=0):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(5)
        self.xid = 0
        self.send(struct.pack(">iqiq", 0, 0, 30000, session) + text(password) + b"\0")
        hello = self.receive()
        self.timeout, self.session = struct.unpack(">iq", hello[4:16])
        self.password = hello[20:36]

    def send(self, body):
        self.socket.sendall(text(body))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self):
        return self.exactly(struct.unpack(">i", self.exactly(4))[0])

    def call(self, op, body, xid=None):
        """Frames up to and with the reply: events come before it."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send(struct.pack(">ii", xid, op) + body)
        return self.until(xid)

    def until(self, xid):
        frames = []
        while True:
            frame = self.receive()
            frames.append(frame)
            if struct.unpack(">i", frame[:4])[0] == xid:
                return frames


class Server:
    """One of the two, with what is its own: session ids, and the zxid and time at which the run began."""

    def __init__(self, port, root):
        self.port = port
        self.root = root
        self.sessions = [Session(port), Session(port)]
        self.base = struct.unpack(">iqi", self.sessions[0].call(3, text(b"/") + b"\0")[-1][:16])[1]

    def plain(self, frames, op):
        return [self.plain_frame(frame, op) for frame in frames]

    def plain_frame(self, frame, op):
        xid, zxid, error = struct.unpack(">iqi", frame[:16])
        body = frame[16:]
        if xid == -1:
            event, state = struct.unpack(">ii", body[:8])
            return ("event", event, state, body[12:])
        return ("reply", xid, self.relative(zxid) if xid >= 0 else None, error, self.plain_body(op, body, error))

    def relative(self, zxid):
        return zxid - self.base if zxid > 0 else zxid

    def plain_body(self, op, body, error):
        if error or not body:
            return body
        reader = Reader(body)
        if op == 1:
            out = [reader.text()]
        elif op in (15, 19, 21):
            out = [reader.text(), self.stat(reader)]
        elif op in (3, 5, 7):
            out = [self.stat(reader)]
        elif op == 4:
            out = [reader.text(), self.stat(reader)]
        elif op == 6:
            out = [[(reader.int(), reader.text(), reader.text()) for _ in range(reader.int())], self.stat(reader)]
        elif op in (8, 12):
            out = [sorted(reader.text() for _ in range(reader.int()))] + ([self.stat(reader)] if op == 12 else [])
        elif op == 103:
            out = [sorted(reader.text() for _ in range(reader.int()))]
        elif op in (14, 22):
            out = []
            while True:
                kind, done, code = reader.int(), reader.bool(), reader.int()
                out.append((kind, done, code))
                if done:
                    break
                if kind == -1:
                    out.append(reader.int())
                elif kind == 8:
                    out.append(sorted(reader.text() for _ in range(reader.int())))
                elif kind in (1, 4, 15):
                    out.append(reader.text())
                if kind in (4, 5, 15):
                    out.append(self.stat(reader))
        else:
            out = [body]
            reader.rest()
        out.append(reader.rest())
        return out

    def stat(self, reader):
        czxid, mzxid, _, _, version, cversion, aversion, owner, length, children, pzxid = struct.unpack(">qqqqiiiqiiq", reader.take(68))
        owners = [session.session for session in self.sessions]
        owner = owners.index(owner) + 1 if owner in owners else owner
        return (self.relative(czxid), self.relative(mzxid), version, cversion, aversion, owner, length, children, self.relative(pzxid))


class Reader:
    def __init__(self, body):
        self.body = body

    def take(self, count):
        assert count <= len(self.body), "body too short"
        part, self.body = self.body[:count], self.body[count:]
        return part

    def int(self):
        return struct.unpack(">i", self.take(4))[0]

    def bool(self):
        return self.take(1) != b"\0"

    def text(self):
        length = self.int()
        return None if length == -1 else self.take(length)

    def rest(self):
        part, self.body = self.body, b""
        return part


class Maker:
    """Makes random requests: (op, body) with paths below the root of the run.

    Even seeds use all kinds of ACLs and no watches, odd ones watches and only ACLs that let everybody read: newer servers and ours check READ for exists and for events, 3.8.0 does not.
    """

    def __init__(self, rng, root, watches):
        self.rng = rng
        self.root = root
        self.watches = watches

    def path(self):
        roll = self.rng.random()
        if roll < 0.03:
            return self.rng.choice([b"x", b"/no//where", self.root + b"/", self.root + b"/.", b"/\0"])
        if roll < 0.08:
            return self.root
        return self.root + b"/" + self.rng.choice(NAMES + PERSISTENT_NAMES).encode()

    def version(self):
        return self.rng.choice([-1, -1, -1, 0, 1, 2, 7])

    def data(self):
        return bytes(self.rng.randrange(256) for _ in range(self.rng.randrange(20)))

    def acl(self):
        if self.watches:
            return self.rng.choice([WORLD, WORLD, [], [(1, b"world", b"anyone")], [(31, b"ip", b"127.0.0.1")], [(31, b"auth", b"")], [(31, b"nope", b"x")]])
        return self.rng.choice([WORLD] * 12 + [[], [(1, b"world", b"anyone")], [(31, b"ip", b"127.0.0.1")], [(31, b"ip", b"10.0.0.0/8")],
            [(31, b"auth", b"")], [(3, b"digest", b"u:x")], [(31, b"nope", b"x")], WORLD + WORLD, [(31, b"digest", b"broken")],
            [(31, b"world", b"me")], [(31, b"ip", b"500.1.1.1")]])

    def create(self):
        flags = self.rng.choice([0] * 8 + [1, 1, 2, 2, 3, 4, 9, -1])
        return text(self.path()) + text(self.data()) + acls(self.acl()) + struct.pack(">i", flags)

    def create_ttl(self):
        # Never 0: with a TTL of -1 that ends 3.8.0 for good.
        flags = self.rng.choice([5, 6])
        ttl = self.rng.choice([1 << 30, 1 << 30, 0, -1, 1 << 41])
        return text(self.path()) + text(self.data()) + acls(self.acl()) + struct.pack(">iq", flags, ttl)

    def write(self):
        op = self.rng.choice([1, 1, 1, 15, 2, 2, 5, 5, 13, 19])
        return op, self.body(op)

    def body(self, op):
        if op in (1, 15, 19):
            return self.create()
        if op == 21:
            return self.create_ttl()
        if op in (2, 13):
            return text(self.path()) + struct.pack(">i", self.version())
        if op in (3, 4, 8, 12):
            path = self.path()
            watch = self.watches and self.root + b"/p" not in path and self.rng.random() < 0.5
            return text(path) + (b"\1" if watch else b"\0")
        if op == 5:
            return text(self.path()) + text(self.data()) + struct.pack(">i", self.version())
        if op == 6:
            return text(self.path())
        if op == 7:
            return text(self.path()) + acls(self.acl()) + struct.pack(">i", self.version())
        if op == 14:
            ops = [self.write() for _ in range(self.rng.randrange(5))]
            return b"".join(multi_header(op) + body for op, body in ops) + multi_header(-1, 1)
        if op == 22:
            ops = [(kind, self.body(kind)) for kind in self.rng.choices([4, 8], k=self.rng.randrange(4))]
            return b"".join(multi_header(op) + body for op, body in ops) + multi_header(-1, 1)
        if op in (17, 18):
            # 3.8 finds a path without a leading slash malformed, we find no watch on it.
            path = self.path()
            path = path if path.startswith(b"/") else self.root
            # 3 is "any". With 1 and 2, 3.8 also takes persistent watches; we do as newer ones do and take one-shot watches only.
            return text(path) + struct.pack(">i", 3)
        if op == 106:
            name = self.rng.choice(PERSISTENT_NAMES)
            return text(self.root + b"/" + name.encode()) + struct.pack(">i", int(name == "p/x"))
        if op in (103, 104, 9):
            return text(self.path())
        return b""

    def request(self):
        op = self.rng.choice([1] * 6 + [15, 15, 21, 2, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6, 7, 8, 8, 12, 14, 14, 14, 22, 103, 104, 106, 18, 17, 9, 107, 16])
        if op == 106 and not self.watches:
            op = 5
        if op == 16:
            return op, struct.pack(">iiiq", -1, -1, -1, -1)
        return op, self.body(op)


def tolerated(op, ours, theirs):
    """What differs on purpose: exists is checked against the ACL; and for 3.8 a recursive watch above the path counts as a watch on it; for newer ones and us only one on the path itself."""
    if op == 3 and (ours[0][3], theirs[0][3]) == (-102, 0):
        return True
    return op in (17, 18) and (ours[0][3], theirs[0][3]) == (-121, 0) and ours[1:] == theirs[1:]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ours", type=int)
    parser.add_argument("reference", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--history", type=int, default=12, help="steps shown before a difference")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    # Of this run alone, so that what earlier runs left on one of the servers does not matter.
    top = b"/cross" + uuid.uuid4().hex[:8].encode()
    root = top + b"/r"
    servers = [Server(arguments.ours, root), Server(arguments.reference, root)]
    maker = Maker(rng, root, arguments.seed % 2 == 1)
    for server in servers:
        server.sessions[0].call(1, text(top) + text(b"") + acls(WORLD) + struct.pack(">i", 0))
        server.sessions[0].call(1, text(root) + text(b"") + acls(WORLD) + struct.pack(">i", 0))
        server.base = struct.unpack(">iqi", server.sessions[0].call(3, text(root) + b"\0")[-1][:16])[1]
    try:
        return compare(arguments, rng, maker, servers)
    finally:
        # Left open they would expire in the middle of the next run, and take a zxid.
        for session in [session for server in servers for session in server.sessions]:
            session.send(struct.pack(">ii", 0, -11))


def compare(arguments, rng, maker, servers):
    history = []
    for step in range(arguments.steps):
        who = rng.randrange(2)
        op, body = maker.request()
        history.append(f"{step}: session {who} op {op} {body!r}")
        answers = []
        for server in servers:
            try:
                answer = server.plain(server.sessions[who].call(op, body), op)
                # A ping brings out events the other session has been sent.
                answers.append(answer + server.plain(server.sessions[1 - who].call(11, b"", xid=-2), 11))
            except (EOFError, TimeoutError) as error:
                answers.append([f"no reply: {error!r}"])
        if answers[0] != answers[1] and not tolerated(op, *answers):
            print("\n".join(history[-arguments.history:]))
            print(f"ours      {answers[0]}\nreference {answers[1]}")
            return 1
    print(f"{arguments.steps} requests of seed {arguments.seed}: every reply agrees")
    return 0


if __name__ == "__main__":
    sys.exit(main())
