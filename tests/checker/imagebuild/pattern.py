"""Recognisable block contents."""


def sector_bytes(seed, number, size=512):
    """One sector whose bytes tell its seed and number."""
    head = number.to_bytes(8, "little") + seed.to_bytes(8, "little")
    return head + bytes([(7 * number + seed) & 0xFF]) * (size - len(head))


def block_bytes(seed, first_sector, count, size=512):
    """`count` consecutive sectors."""
    return b"".join(sector_bytes(seed, first_sector + i, size) for i in range(count))
