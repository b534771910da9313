"""As much of Kafka's protocol as measuring takes: requests as bytes, one at a time, over plain sockets."""
import socket
import struct

PRODUCE, METADATA, API_VERSIONS = 0, 3, 18
CLIENT = b"bench"
RESPONSE_BYTES_MAX = 64 << 20


def crc32c(data):
    """CRC-32C (Castagnoli), which Python's library has not; slow, and used once for each batch that is made."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(value):
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def record_batch(value, timestamp_ms):
    """A batch v2 of one record without key and headers."""
    record = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
    record = varint(len(record)) + record
    # Attributes, last offset delta, first and last timestamp, producer id, epoch and sequence, number of records.
    checked = struct.pack(">hiqqqhii", 0, 0, timestamp_ms, timestamp_ms, -1, -1, -1, 1) + record
    behind_length = struct.pack(">ib", -1, 2) + struct.pack(">I", crc32c(checked)) + checked
    return struct.pack(">qi", 0, len(behind_length)) + behind_length


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def call(connection, key, version, body):
    """Sends one request and gives the body of its response."""
    header = struct.pack(">hhih", key, version, 1, len(CLIENT)) + CLIENT
    connection.sendall(struct.pack(">i", len(header) + len(body)) + header + body)
    (length,) = struct.unpack(">i", receive(connection, 4))
    if not 4 <= length <= RESPONSE_BYTES_MAX:
        raise ConnectionError(f"a response of {length} bytes")
    return receive(connection, length)[4:]


def receive(connection, count):
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise ConnectionError("closed by the broker")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def brokers(connection):
    """Number of brokers in a Metadata v1 response that asks for no topic."""
    return struct.unpack_from(">i", call(connection, METADATA, 1, struct.pack(">i", 0)))[0]


def produce(connection, topic, partition, batch):
    """Stores a batch with acks=1 (Produce v3)."""
    name = topic.encode()
    body = struct.pack(">hhii", -1, 1, 5000, 1) + struct.pack(">h", len(name)) + name
    body += struct.pack(">iii", 1, partition, len(batch)) + batch
    response = call(connection, PRODUCE, 3, body)
    # One topic, its name, one partition, its number, the error.
    (error,) = struct.unpack_from(">h", response, 4 + 2 + len(name) + 4 + 4)
    if error:
        raise ConnectionError(f"produce to {topic}-{partition}: error {error}")
