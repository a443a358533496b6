"""Entries of a VHDX block allocation table, and who owns which space (X07, X11-X16)."""
from .spacemap import RangeMap, UnitMap
from .vhdx_geometry import offset_of, pieces, runs, state
from . import vhdx_layout as v

_RESERVED = 0xFFFF8
_OWNERS = {1: "header section", 2: "log", 3: "BAT region", 4: "metadata region",
           5: "unknown region", 6: "payload block", 7: "sector bitmap block",
           8: "payload block (soft anchor)"}
MAX_NAMED_CLASHES = 16


def check_space(header, regions, report):
    """X07 among header section, log and regions; returns the RangeMap of these."""
    space = RangeMap()
    space.add(0, v.HEADER_SECTION, "header section")
    space.add(header.log_offset, header.log_offset + header.log_length, "log")
    for guid, entry in regions.items():
        name = {v.BAT_REGION: "BAT region", v.METADATA_REGION: "metadata region"}
        space.add(entry.offset, entry.offset + entry.length, name.get(guid, "unknown region"))
    for first, second in space.conflicts():
        report.error("X07", second[0], "file layout", "%s [0x%x, 0x%x) overlaps %s [0x%x, 0x%x)"
                     % (second[2], second[0], second[1], first[2], first[0], first[1]))
    return space


def check_geometry(geometry, report):
    """X11."""
    report.facts.update(chunk_ratio=geometry.ratio, payload_blocks=geometry.blocks,
                        bat_entries=geometry.entries)
    if geometry.ratio < 1:
        report.error("X11", None, "BAT", "chunk ratio is zero")
        return False
    if geometry.entries * 8 > geometry.bat_length:
        report.error("X11", geometry.bat_offset, "BAT region", "%d entries need %d bytes, the "
                     "region has %d" % (geometry.entries, geometry.entries * 8,
                                        geometry.bat_length))
        return False
    return True


class BatChecker:
    """One pass over all entries. After `check`, `states` counts them and `last_end` is known."""

    def __init__(self, view, geometry, metadata, ranges, report):
        self.view = view
        self.geometry = geometry
        self.fixed = metadata.leave_allocated and not metadata.has_parent
        self.ranges = ranges
        self.report = report
        self.units = UnitMap()
        self.states = {}
        self.bitmap_states = {}
        self.last_end = self.past_end = 0
        self.clashes = []
        self.absent = 0
        self._partial_chunk = None

    def check(self):
        g = self.geometry
        numbers = {name: number for number, name in _OWNERS.items()}
        for start, end, name in self.ranges:
            self.units.claim(start // v.MIB, -(-end // v.MIB), numbers[name])
            self.last_end = max(self.last_end, end)
        for index, count, value, values in pieces(self.view, g, 0, g.entries):
            if values is None:
                self._run(index, count, value)
            else:
                self._mixed(index, values)
        self._check_tail()
        self._report_clashes()
        if self.fixed and self.absent:
            self.report.warning("X16", g.bat_offset, "BAT", "LeaveBlocksAllocated is set, but %d "
                                "of %d payload blocks are not fully present"
                                % (self.absent, g.blocks))
        names = {v.STATE_NAMES.get(k, "reserved_%d" % k): n for k, n in self.states.items()}
        self.report.facts["block_states"] = dict(sorted(names.items()))
        self.report.facts["bitmap_states"] = {str(k): n for k, n
                                              in sorted(self.bitmap_states.items())}

    def _mixed(self, index, values):
        """Different entries side by side; whole blocks in free space are settled right here."""
        g, claim = self.geometry, self.units.claim_free
        group, width = g.ratio + 1, g.block_size // v.MIB
        last_payload = g.payload_index(g.blocks - 1)
        lowest, highest = v.MIB | v.FULL, (self.view.size - g.block_size) | v.FULL
        settled = top = 0
        for slot, value in enumerate(values, index):
            if (value & 0xFFFFF == v.FULL and lowest <= value <= highest
                    and slot % group != g.ratio and slot <= last_payload
                    and claim(value >> 20, width, 6)):
                settled += 1
                top = max(top, value)
            else:
                self._run(slot, 1, value)
        self._count(self.states, v.FULL, settled)
        if settled:
            self.last_end = max(self.last_end, offset_of(top) + g.block_size)

    def _run(self, index, count, value):
        g = self.geometry
        group = g.ratio + 1
        bitmaps = (index + count) // group - index // group
        # Padding of a differencing file's last chunk: payload entries without a block.
        first_spare = max(index, g.payload_index(g.blocks - 1) + 1)
        spare = max(0, min(index + count, g.bitmap_index(g.chunks - 1)) - first_spare)
        payload = count - bitmaps - spare
        if value == 0:
            self._count(self.states, v.NOT_PRESENT, payload)
            self._count(self.bitmap_states, 0, bitmaps)
            self.absent += payload
            return
        if value >> 20 == 0 and value & _RESERVED == 0 and state(value) < 4:
            # No space behind it: only the bitmap entries inside need a look of their own.
            self._count(self.states, state(value), payload)
            self.absent += payload
            if spare:
                self._spare(first_spare, value)
            for chunk in range(index // group, (index + count) // group):
                self._bitmap(g.bitmap_index(chunk), value)
            return
        for each in range(index, index + count):
            if g.is_bitmap(each):
                self._bitmap(each, value)
            elif g.block_of(each) >= g.blocks:
                self._spare(each, value)
            else:
                self._payload(each, value)

    @staticmethod
    def _count(counts, key, number):
        if number:
            counts[key] = counts.get(key, 0) + number

    def _spare(self, index, value):
        self.report.warning("X12", self.geometry.place(index), "BAT entry %d" % index,
                            "belongs to no block but holds 0x%x" % value)

    def _check_tail(self):
        """Entries of the region behind the last one in use."""
        g = self.geometry
        for index, count, value in runs(self.view, g, g.entries, g.bat_length // 8):
            if value:
                self.report.warning("X12", g.place(index), "BAT entry %d" % index,
                                    "%d unused entries hold 0x%x" % (count, value))

    def _payload(self, index, value):
        g, report = self.geometry, self.report
        kind, offset = state(value), offset_of(value)
        block = g.block_of(index)
        name = "BAT entry %d (block %d)" % (index, block)
        self._count(self.states, kind, 1)
        self.absent += kind != v.FULL
        if value & _RESERVED:
            report.error("X12", g.place(index), name, "reserved bits are set: 0x%x" % value)
        if kind not in v.STATE_NAMES:
            report.error("X12", g.place(index), name, "state %d is reserved" % kind)
            return
        if kind == v.PARTIAL and not g.has_parent:
            report.error("X12", g.place(index), name,
                         "PARTIALLY_PRESENT in a file without parent")
        if kind == v.PARTIAL and g.has_parent:
            self._need_bitmap(block // g.ratio, block)
        if kind in (v.FULL, v.PARTIAL):
            if self._inside(index, name, offset, self._used_length(block)):
                self._claim(index, offset, g.block_size, 6)
        elif offset:
            self._anchor(index, name, kind, offset)

    def _used_length(self, block):
        return min(self.geometry.block_size,
                   self.geometry.virtual_size - block * self.geometry.block_size)

    def _inside(self, index, name, offset, used):
        """X13; a block cut short by the end of the file is tolerated where no data is lost."""
        g, report = self.geometry, self.report
        size = v.BITMAP_BLOCK if g.is_bitmap(index) else g.block_size
        if offset < v.HEADER_SECTION:
            text = "present, but offset 0x%x lies in the header section" % offset
            report.error("X13", g.place(index), name, text)
            report.error("X07", g.place(index), name, text)
            return False
        if offset + used > self.view.size:
            self.past_end = max(self.past_end, offset + used)
            report.error("X13", g.place(index), name, "[0x%x, +0x%x) ends past the file (0x%x)"
                         % (offset, size, self.view.size))
            return False
        if offset + size > self.view.size:
            report.warning("X13", g.place(index), name, "the file ends inside this last block "
                           "(behind the end of the disk)")
        return True

    def _anchor(self, index, name, kind, offset):
        g, report = self.geometry, self.report
        if kind in (v.ZERO, v.NOT_PRESENT):
            report.warning("X13", g.place(index), name, "state %s with offset 0x%x, must be zero"
                           % (v.STATE_NAMES[kind], offset))
        if offset + g.block_size > self.view.size:
            report.warning("X13", g.place(index), name, "soft anchor 0x%x lies past the file"
                           % offset)
        else:
            self._claim(index, offset, g.block_size, 8)

    def _bitmap(self, index, value):
        g, report = self.geometry, self.report
        kind, offset = state(value), offset_of(value)
        name = "BAT entry %d (bitmap of chunk %d)" % (index, index // (g.ratio + 1))
        self._count(self.bitmap_states, kind, 1)
        if value & _RESERVED:
            report.error("X12", g.place(index), name, "reserved bits are set: 0x%x" % value)
        if kind not in v.BITMAP_STATES:
            report.error("X12", g.place(index), name, "state %d is not a bitmap state" % kind)
            return
        if kind == 6 and not g.has_parent:
            # Such files exist; nobody reads the bitmap, so its place does not matter.
            report.warning("X12", g.place(index), name,
                           "bitmap block present in a file without parent (ignored)")
        elif kind == 6:
            if self._inside(index, name, offset, v.BITMAP_BLOCK):
                self._claim(index, offset, v.BITMAP_BLOCK, 7)
                self._check_bits(index // (g.ratio + 1), offset)
        elif offset:
            report.warning("X13", g.place(index), name, "not present, with offset 0x%x" % offset)

    def _need_bitmap(self, chunk, block):
        """X15: a chunk with a partially present block has its bitmap block."""
        if chunk == self._partial_chunk:
            return
        self._partial_chunk = chunk
        index = self.geometry.bitmap_index(chunk)
        place = self.geometry.place(index)
        value = int.from_bytes(self.view.read(place, 8), "little")
        if state(value) != 6:
            self.report.error("X15", place, "BAT entry %d (bitmap of chunk %d)" % (index, chunk),
                              "block %d is partially present, but its bitmap block is not there"
                              % block)

    def _check_bits(self, chunk, offset):
        """X15: bits of sectors past the end of the disk are zero."""
        g = self.geometry
        if not g.has_parent or chunk != g.chunks - 1:
            return
        sectors = g.virtual_size // g.sector - chunk * v.BITMAP_SECTORS
        bits = self.view.read(offset, v.BITMAP_BLOCK)
        byte, bit = divmod(sectors, 8)
        rest = bits[byte:]
        if rest and (rest[0] >> bit or any(rest[1:])):
            self.report.error("X15", offset + byte, "sector bitmap of chunk %d" % chunk,
                              "bits of sectors past the end of the disk are set")

    def _claim(self, index, offset, length, owner):
        self.last_end = max(self.last_end, offset + length)
        clash = self.units.claim(offset // v.MIB, (offset + length) // v.MIB, owner)
        if clash and len(self.clashes) < MAX_NAMED_CLASHES:
            self.clashes.append((index, offset, owner) + clash)

    def _report_clashes(self):
        if self.units.overflowed:
            self.report.note("X14", None, "BAT", "blocks lie too far apart to prove them disjoint")
        for index, offset, owner, unit, other in self.clashes:
            place = self.geometry.place(index)
            name = "BAT entry %d" % index
            text = "%s 0x%x overlaps %s at 0x%x" % (_OWNERS[owner], offset, _OWNERS[other],
                                                    unit * v.MIB)
            self.report.error("X07", place, name, text)
            if other >= 6:
                self.report.error("X14", place, name, text)
            if 8 in (owner, other):
                self.report.error("X13", place, name, text)
