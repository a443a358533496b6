"""A file in memory that holds only the pages written to it."""
import struct

from imagecheck.source import Source

_PAGE = 4096


class SparseFile(Source):
    """Mutable sparse bytes; also a Source, so that the checker reads it directly."""

    def __init__(self, size=0, name="image"):
        self.size = size
        self.name = name
        self._pages = {}

    @property
    def identity(self):
        return ("memory", self.name)

    def copy(self, name=None):
        twin = SparseFile(self.size, name or self.name)
        twin._pages = {key: bytearray(page) for key, page in self._pages.items()}
        return twin

    def write(self, offset, data):
        """Writes `data`, growing the file where needed."""
        self.size = max(self.size, offset + len(data))
        at = 0
        while at < len(data):
            key, low = divmod(offset + at, _PAGE)
            step = min(_PAGE - low, len(data) - at)
            self._pages.setdefault(key, bytearray(_PAGE))[low:low + step] = data[at:at + step]
            at += step

    def pack(self, offset, form, *values):
        """Writes one packed field."""
        self.write(offset, struct.pack(form, *values))

    def unpack(self, offset, form):
        """Reads one packed field."""
        return struct.unpack(form, self.read(offset, struct.calcsize(form)))[0]

    def zero(self, offset, length):
        """Zeroes [offset, offset + length) without growing the file."""
        end = min(offset + length, self.size)
        for key in [k for k in self._pages if k * _PAGE < end and offset < (k + 1) * _PAGE]:
            low, high = max(offset, key * _PAGE), min(end, (key + 1) * _PAGE)
            self._pages[key][low - key * _PAGE:high - key * _PAGE] = bytes(high - low)

    def truncate(self, size):
        """Sets the size; bytes cut off do not come back when it grows again."""
        if size < self.size:
            self.zero(size, self.size - size)
        self.size = size

    def flip(self, offset, mask=0xFF):
        """Inverts bits of one byte."""
        self.write(offset, bytes([self.read(offset, 1)[0] ^ mask]))

    def _read(self, offset, length):
        parts = []
        while length:
            key, low = divmod(offset, _PAGE)
            step = min(_PAGE - low, length)
            page = self._pages.get(key)
            parts.append(bytes(page[low:low + step]) if page else bytes(step))
            offset += step
            length -= step
        return b"".join(parts)

    def next_data(self, offset, end):
        if offset // _PAGE in self._pages:
            return offset
        later = [key for key in self._pages if key * _PAGE >= offset]
        return min(min(later) * _PAGE, end) if later else end

    def save(self, path):
        """Writes a sparse host file."""
        with open(path, "wb") as out:
            for key in sorted(self._pages):
                page = self._pages[key]
                if any(page):
                    out.seek(key * _PAGE)
                    out.write(page[:max(0, self.size - key * _PAGE)])
            out.truncate(self.size)
