"""Runs of equal bits in sector bitmaps, in both bit orders."""

_REVERSED = bytes(int(format(value, "08b")[::-1], 2) for value in range(256))


def runs_msb(raw, count):
    """Yields (first bit, number, is set); the most significant bit of a byte comes first (VHD)."""
    text = format(int.from_bytes(raw, "big"), "0%db" % (8 * len(raw)))[:count]
    at = 0
    while at < count:
        present = text[at] == "1"
        stop = text.find("0" if present else "1", at)
        stop = count if stop < 0 else stop
        yield at, stop - at, present
        at = stop


def runs_lsb(raw, count):
    """Like runs_msb; the least significant bit of a byte comes first (VHDX, tapdisk 0.1)."""
    return runs_msb(raw.translate(_REVERSED), count)
