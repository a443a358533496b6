"""Where bytes come from: a host file, memory, or a file seen through a replayed log."""
import bisect
import os
import stat

PAGE = 4096
MAX_READ = 8 << 20


class ReadError(Exception):
    """The host could not give bytes that the file's size promised (or the file is none)."""


class Source:
    """Random access to `size` bytes. `name` is how findings call it."""

    size = 0
    name = ""
    identity = None

    def read(self, offset, length):
        """Exactly `length` bytes at `offset`; both must have been checked against `size`."""
        if offset < 0 or length < 0 or length > MAX_READ or offset + length > self.size:
            raise ValueError("unchecked read: offset %d length %d of %d"
                             % (offset, length, self.size))
        return self._read(offset, length) if length else b""

    def read_upto(self, offset, length):
        """Like read, but gives fewer bytes where the file ends."""
        if offset >= self.size:
            return b""
        return self.read(offset, min(length, self.size - offset))

    def contains(self, offset, length):
        """Whether [offset, offset + length) lies inside."""
        return offset >= 0 and length >= 0 and offset + length <= self.size

    def next_data(self, offset, end):
        """The first offset in [offset, end] from which the host may hold non-zero bytes."""
        del end
        return offset

    def close(self):
        """Gives back what the source holds of the host."""


class MemorySource(Source):
    """A byte string with a name; for tests."""

    def __init__(self, data, name, identity=None):
        self._data = data
        self.size = len(data)
        self.name = name
        self.identity = identity or ("memory", name)

    def _read(self, offset, length):
        return bytes(self._data[offset:offset + length])


class FileSource(Source):
    """A regular host file, opened read-only; never blocks on a FIFO, never follows a device."""

    def __init__(self, path, follow=True):
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        if not follow:
            flags |= os.O_NOFOLLOW
        self.name = str(path)
        if not stat.S_ISREG(os.stat(path, follow_symlinks=follow).st_mode):
            raise ReadError("not a regular file")
        self._fd = os.open(path, flags)
        info = os.fstat(self._fd)
        if not stat.S_ISREG(info.st_mode):
            self.close()
            raise ReadError("not a regular file")
        self.size = info.st_size
        self.identity = (info.st_dev, info.st_ino)

    def _read(self, offset, length):
        parts = []
        while length:
            part = os.pread(self._fd, length, offset)
            if not part:
                raise ReadError("%s: file became shorter while it was read" % self.name)
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def next_data(self, offset, end):
        try:
            return min(os.lseek(self._fd, offset, os.SEEK_DATA), end)
        except OSError:
            # ENXIO: nothing but a hole up to the end. Anything else: assume data.
            return end if offset < self.size and self._only_hole(offset) else offset

    def _only_hole(self, offset):
        try:
            return os.lseek(self._fd, offset, os.SEEK_HOLE) == offset
        except OSError:
            return False

    def close(self):
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class ReplayOverlay(Source):
    """`base` as it would read after its log had been replayed; the base is not touched.

    `operations` are in replay order: ("data", file offset, log sector offset, leading, trailing)
    and ("zero", file offset, length). Data stays in the log; only its place is remembered.
    """

    def __init__(self, base, operations, size):
        self.base = base
        self.name = base.name
        self.identity = base.identity
        self.size = max(size, base.size)
        self._pages = {}
        self._zero_starts = []
        self._zero_ends = []
        self._settle(operations)
        self._sorted_pages = sorted(self._pages)

    def _settle(self, operations):
        """Latest operation wins: walk backwards and claim only what is still unclaimed."""
        claimed = _IntervalSet()
        zeros = []
        for operation in reversed(operations):
            if operation[0] == "data":
                _, offset, sector, leading, trailing = operation
                if claimed.add(offset, offset + PAGE):
                    self._pages[offset] = (sector, leading, trailing)
            else:
                _, offset, length = operation
                zeros.extend(claimed.add(offset, offset + length))
        for start, end in sorted(zeros):
            self._zero_starts.append(start)
            self._zero_ends.append(end)

    def pages(self):
        """File offsets of the 4 KiB pages that the log rewrites with data."""
        return self._sorted_pages

    def zero_ranges(self):
        """Ranges (start, end) that the log zeroes, sorted and disjoint."""
        return list(zip(self._zero_starts, self._zero_ends))

    def _page(self, offset):
        sector, leading, trailing = self._pages[offset]
        return leading + self.base.read(sector + 8, PAGE - 12) + trailing

    def _read(self, offset, length):
        result = bytearray(self.base.read_upto(offset, length))
        result.extend(bytes(length - len(result)))
        end = offset + length
        index = max(0, bisect.bisect_right(self._zero_starts, offset) - 1)
        while index < len(self._zero_starts) and self._zero_starts[index] < end:
            low = max(offset, self._zero_starts[index])
            high = min(end, self._zero_ends[index])
            if low < high:
                result[low - offset:high - offset] = bytes(high - low)
            index += 1
        first = offset - offset % PAGE
        for page in range(first, end, PAGE):
            if page in self._pages:
                low, high = max(offset, page), min(end, page + PAGE)
                result[low - offset:high - offset] = self._page(page)[low - page:high - page]
        return bytes(result)

    def next_data(self, offset, end):
        at = bisect.bisect_right(self._sorted_pages, offset - PAGE)
        page = self._sorted_pages[at] if at < len(self._sorted_pages) else end
        below = min(end, self.base.size)
        base = self.base.next_data(offset, below) if offset < below else end
        return max(offset, min(page, base if base < below else end, end))

    def close(self):
        self.base.close()


class _IntervalSet:
    """Union of half-open ranges."""

    def __init__(self):
        self._starts = []
        self._ends = []

    def add(self, start, end):
        """Adds [start, end) and returns the parts of it that were not covered before."""
        low = bisect.bisect_left(self._ends, start)
        high = bisect.bisect_right(self._starts, end)
        fresh = []
        cursor = start
        for index in range(low, high):
            if cursor < self._starts[index]:
                fresh.append((cursor, self._starts[index]))
            cursor = max(cursor, self._ends[index])
        if cursor < end:
            fresh.append((cursor, end))
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]
        return fresh
