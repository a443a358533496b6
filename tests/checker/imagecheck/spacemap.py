"""Who owns which byte of a file: disjointness of structures and of many equal-sized blocks."""

MIB = 1 << 20
_PAGE_UNITS = 1 << 13
# 64 Ki pages of 8 KiB: covers 512 TiB of file densely, and bounds memory on hostile sparse ones.
_MAX_PAGES = 1 << 16


class RangeMap:
    """Few named ranges, checked pairwise."""

    def __init__(self):
        self._ranges = []

    def add(self, start, end, name):
        if end > start:
            self._ranges.append((start, end, name))

    def __iter__(self):
        return iter(self._ranges)

    def conflicts(self):
        """Pairs ((start, end, name), (start, end, name)) that overlap; sweep, neighbours only."""
        found = []
        widest = None
        for current in sorted(self._ranges):
            if widest and current[0] < widest[1]:
                found.append((widest, current))
            if widest is None or current[1] > widest[1]:
                widest = current
        return found

    def overlapping(self, start, end):
        """Names of the ranges that share a byte with [start, end)."""
        return [name for low, high, name in self._ranges if low < end and start < high]


class UnitMap:
    """One owner byte per 1 MiB of file, allocated page by page."""

    def __init__(self):
        self._pages = {}
        self.overflowed = False

    def claim_free(self, start, width, owner):
        """Marks `width` units if they are free and lie in one known page; else does nothing."""
        key, low = divmod(start, _PAGE_UNITS)
        page = self._pages.get(key)
        if page is None or low + width > _PAGE_UNITS or any(page[low:low + width]):
            return False
        page[low:low + width] = bytes([owner]) * width
        return True

    def claim(self, start, end, owner):
        """Marks MiB units [start, end); returns (first unit, old owner) of a clash, or None."""
        clash = None
        unit = start
        while unit < end:
            key, low = divmod(unit, _PAGE_UNITS)
            high = min(_PAGE_UNITS, low + end - unit)
            page = self._pages.get(key)
            if page is None:
                if len(self._pages) >= _MAX_PAGES:
                    self.overflowed = True
                    return clash
                page = self._pages[key] = bytearray(_PAGE_UNITS)
            old = page[low:high]
            if clash is None and any(old):
                at = len(old) - len(old.lstrip(b"\0"))
                clash = (unit + at, old[at])
            page[low:high] = bytes([owner]) * (high - low)
            unit += high - low
        return clash
