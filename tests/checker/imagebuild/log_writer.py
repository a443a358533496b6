"""Writes VHDX log entries into the ring of an image, right or wrong."""
import struct

from imagecheck.crc32c import crc32c

SECTOR = 4096


def encode(guid, sequence, tail, operations, flushed, last, **wrong):
    """One entry. Operations: ("data", offset, 4096 bytes) and ("zero", offset, length).

    `wrong` overrides fields before the checksum is made: signature, length, count, tail_field;
    or the descriptors and data sectors, as functions of (raw bytes) -> raw bytes: descriptor, data.
    """
    descriptors, sectors = [], []
    low, high = sequence & 0xFFFFFFFF, sequence >> 32
    for operation in operations:
        if operation[0] == "data":
            page = operation[2]
            descriptors.append(b"desc" + page[-4:] + page[:8]
                               + struct.pack("<QQ", operation[1], sequence))
            sectors.append(b"data" + struct.pack("<I", high) + page[8:-4]
                           + struct.pack("<I", low))
        else:
            descriptors.append(b"zero" + bytes(4) + struct.pack("<QQQ", operation[2],
                                                                operation[1], sequence))
    descriptors = [wrong.get("descriptor", bytes)(raw) for raw in descriptors]
    sectors = [wrong.get("data", bytes)(raw) for raw in sectors]
    extra = max(0, len(descriptors) - 126)
    directory = SECTOR * (1 + -(-extra // 128))
    length = directory + SECTOR * len(sectors)
    header = struct.pack("<4sIIIQII16sQQ", wrong.get("signature", b"loge"), 0,
                         wrong.get("length", length), tail, sequence,
                         wrong.get("count", len(descriptors)), 0, guid.bytes_le, flushed, last)
    raw = (header + b"".join(descriptors)).ljust(directory, b"\0") + b"".join(sectors)
    return checksummed(raw)


def checksummed(raw):
    """`raw` with its checksum field made right."""
    raw = raw[:4] + bytes(4) + raw[8:]
    return raw[:4] + struct.pack("<I", crc32c(raw)) + raw[8:]


def put(image, position, raw):
    """Writes `raw` at ring position `position` of a built Vhdx, wrapping."""
    for at in range(0, len(raw), SECTOR):
        place = image.log_offset + (position + at) % image.log_length
        image.file.write(place, raw[at:at + SECTOR])
    return (position + len(raw)) % image.log_length


def get(image, position, length):
    """`length` bytes of the ring from `position`, unwrapped."""
    return b"".join(image.file.read(image.log_offset + (position + at) % image.log_length, SECTOR)
                    for at in range(0, length, SECTOR))
