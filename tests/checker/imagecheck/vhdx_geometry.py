"""Shape of a VHDX block allocation table, and a pass over it that is cheap where it is empty."""
import sys
from array import array

from . import vhdx_layout as v

_PIECE = 1 << 20
_PAGE = 4096


class Geometry:
    """Counts derived from the metadata (X11); Python integers do not overflow."""

    def __init__(self, metadata, region):
        self.block_size = metadata.block_size
        self.sector = metadata.logical
        self.virtual_size = metadata.virtual_size
        self.ratio = v.BITMAP_SECTORS * self.sector // self.block_size
        self.blocks = -(-self.virtual_size // self.block_size)
        self.chunks = -(-self.blocks // self.ratio)
        self.has_parent = metadata.has_parent
        if self.has_parent:
            self.entries = self.chunks * (self.ratio + 1)
        else:
            self.entries = self.blocks + (self.blocks - 1) // self.ratio
        self.bat_offset = region.offset
        self.bat_length = region.length

    def payload_index(self, block):
        return block + block // self.ratio

    def bitmap_index(self, chunk):
        return (chunk + 1) * self.ratio + chunk

    def block_of(self, index):
        """Payload block of a BAT index that is no bitmap entry."""
        return index - index // (self.ratio + 1)

    def is_bitmap(self, index):
        return index % (self.ratio + 1) == self.ratio

    def place(self, index):
        return self.bat_offset + 8 * index


def state(value):
    return value & 7


def offset_of(value):
    return (value >> 20) << 20


def runs(view, geometry, first, end):
    """Yields (index, count, value) of equal neighbouring BAT entries in [first, end)."""
    start, length, value = first, 0, None
    for index, count, current in _small_runs(view, geometry, first, end):
        if current == value:
            length += count
            continue
        if length:
            yield start, length, value
        start, length, value = index, count, current
    if length:
        yield start, length, value


def _small_runs(view, geometry, first, end):
    for index, count, value, values in pieces(view, geometry, first, end):
        if values is None:
            yield index, count, value
            continue
        for slot, each in enumerate(values, index):
            yield slot, 1, each


def pieces(view, geometry, first, end):
    """Yields (index, count, value, None) of equal entries, or (index, count, None, values)."""
    index = first
    while index < end:
        place = geometry.place(index)
        limit = geometry.place(end)
        hole = view.next_data(place, limit) if place % _PIECE == 0 else place
        if hole - place >= _PAGE:
            count = (hole - place) // 8
            yield index, count, 0, None
            index += count
            continue
        size = min(_PIECE - place % _PIECE, limit - place)
        data = view.read(place, size)
        if data == data[:8] * (size // 8):
            yield index, size // 8, int.from_bytes(data[:8], "little"), None
        else:
            yield from _pages(data, index)
        index += size // 8


def _pages(data, index):
    for at in range(0, len(data), _PAGE):
        page = data[at:at + _PAGE]
        count = len(page) // 8
        if page == page[:8] * count:
            yield index + at // 8, count, int.from_bytes(page[:8], "little"), None
            continue
        values = array("Q", page)
        if sys.byteorder == "big":
            values.byteswap()
        yield index + at // 8, count, None, values
