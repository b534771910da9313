"""What one broker itself says of topics: Metadata over a connection of its own, where a client library would answer from memory or ask another broker."""
import collections
import socket
import struct

CLIENT_ID = b"torture"
ANSWER_BYTES_MAX = 1 << 24

PartitionView = collections.namedtuple("PartitionView", "error leader replicas isr")


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value, = struct.unpack_from(f">{form}", self.data, self.at)
        self.at += struct.calcsize(f">{form}")
        return value

    def text(self):
        length = self.take("h")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at].decode()

    def array(self, item):
        return [item() for _ in range(self.take("i"))]


def ask(address, port, key, version, body, seconds):
    """Sends one request and gives the body of the answer."""
    head = struct.pack(">hhih", key, version, 1, len(CLIENT_ID)) + CLIENT_ID
    with socket.create_connection((address, port), seconds) as peer:
        peer.settimeout(seconds)
        peer.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        with peer.makefile("rb") as answer:
            size, = struct.unpack(">i", answer.read(4))
            if not 4 <= size <= ANSWER_BYTES_MAX:
                raise OSError(f"an answer of {size} bytes")
            return answer.read(size)[4:]


def metadata(address, port, seconds=2):
    """{topic: {partition: PartitionView}} of every topic, as this broker has it. Raises OSError where it does not answer."""
    try:
        # Version 0 with no topics named is about all of them, and every broker since 0.8 answers it.
        reader = Reader(ask(address, port, 3, 0, struct.pack(">i", 0), seconds))
        reader.array(lambda: (reader.take("i"), reader.text(), reader.take("i")))
        topics = {}
        for _ in range(reader.take("i")):
            _, name = reader.take("h"), reader.text()
            topics[name] = dict(reader.array(lambda: _partition(reader)))
        return topics
    except struct.error as error:
        raise OSError(f"the answer of {address}:{port} is cut: {error}") from None


def _partition(reader):
    error, number, leader = reader.take("h"), reader.take("i"), reader.take("i")
    replicas, isr = reader.array(lambda: reader.take("i")), reader.array(lambda: reader.take("i"))
    return number, PartitionView(error, leader, replicas, isr)
