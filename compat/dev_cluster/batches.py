"""Changes a record batch v2 on the disk so that nothing but a comparison with another replica can tell."""
import struct

CRC_AT, COVERED_FROM, LOG_OVERHEAD = 17, 21, 12


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def change_a_byte_of_the_last_batch(path):
    """Flips a bit of the batch's last value and writes its checksum anew. (The header count of the last record stands behind the value.)"""
    log = bytearray(path.read_bytes())
    at = last = 0
    while at + LOG_OVERHEAD <= len(log):
        size = struct.unpack(">i", log[at + 8:at + LOG_OVERHEAD])[0]
        if size <= 0:
            break
        last, at = at, at + LOG_OVERHEAD + size
    log[at - 2] ^= 1
    batch = log[last:at]
    log[last + CRC_AT:last + COVERED_FROM] = struct.pack(">I", crc32c(batch[COVERED_FROM:]))
    path.write_bytes(log)
