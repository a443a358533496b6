"""A VHD image: dynamic header, BAT, bitmaps, locators (V02-V06, V08), then its extents."""
import sys
from array import array

from . import bits, vhd_footer
from . import vhd_layout as v
from .spacemap import RangeMap

_PIECE = 1 << 20
MAX_TEXT = 64 << 10


class VhdImage:
    """Checked on construction. `readable` tells whether extents() may be used."""

    kind_name = "vhd"
    sector_size = v.SECTOR

    def __init__(self, source, report, size_rule="auto"):
        self.source = self.view = source
        self.report = report
        self.readable = False
        self.footer = self.header = self.bat = None
        self.linkable = False  # the parent can be looked for, even if the contents are damaged
        self.size = self.bitmap_size = 0
        self.locators = []
        self.parent_name = ""
        self._size_rule = size_rule
        report.facts.update(format="vhd", file_size=source.size)
        self._check()

    @property
    def has_parent(self):
        return self.footer is not None and self.footer.kind == v.DIFFERENCING

    def identity_guid(self):
        return self.footer.unique_id

    def _check(self):
        report = self.report
        self.footers = vhd_footer.find(self.source, report)
        if self.footers is None:
            return
        before = report.error_count()
        self.footer = footer = self.footers.footer
        self._note_facts(footer)
        ok = vhd_footer.check_fields(self.source, self.footers, report)
        self.size = vhd_footer.virtual_size(footer, self._size_rule)
        report.facts["virtual_size"] = self.size
        if ok and footer.kind != v.FIXED:
            if self._check_header() and self._check_table():
                if self.has_parent:
                    self._check_locators()
                self._check_bat()
        self.readable = report.error_count() == before

    def _note_facts(self, footer):
        self.report.facts.update(
            kind=v.TYPE_NAMES.get(footer.kind, "type %d" % footer.kind),
            creator=footer.creator.decode("latin-1"), creator_version=footer.creator_version,
            unique_id=str(footer.unique_id), current_size=footer.current_size,
            original_size=footer.original_size, geometry=list(footer.geometry),
            timestamp=footer.timestamp, saved_state=footer.saved_state,
            footer_copy_valid=self.footers.copy_valid,
            footer_valid=self.footers.trailing_valid, logical_sector_size=v.SECTOR)

    def _check_header(self):
        """V02: the dynamic header."""
        report, offset = self.report, self.footer.data_offset
        if offset + v.HEADER_SIZE > self.footers.data_end or offset < v.FOOTER_SIZE:
            report.error("V02", self.footer.offset + 16, "footer",
                         "Data Offset 0x%x: no dynamic header can lie there" % offset)
            return False
        raw = self.source.read(offset, v.HEADER_SIZE)
        before = report.error_count()
        if raw[:8] != b"cxsparse":
            report.error("V02", offset, "dynamic header", "cookie is not 'cxsparse'")
            return False
        self.header = v.decode_header(raw, offset)
        if v.checksum(raw, 36) != self.header.checksum:
            report.error("V02", offset + 36, "dynamic header", "checksum does not match")
        if self.header.version >> 16 != 1:
            report.error("V02", offset + 24, "dynamic header", "version 0x%08x, not 1.0"
                         % self.header.version)
        elif self.header.version != 0x10000:
            report.warning("V02", offset + 24, "dynamic header", "version 0x%08x"
                           % self.header.version)
        if self.header.data_offset != v.ALL_ONES:
            report.warning("V02", offset + 8, "dynamic header", "Data Offset 0x%x, not all ones"
                           % self.header.data_offset)
        return report.error_count() == before

    def _check_table(self):
        """V03: block size, entry count and the place of the BAT."""
        header, report, before = self.header, self.report, self.report.error_count()
        block = header.block_size
        report.facts.update(block_size=block, bat_entries=header.entries)
        if block & (block - 1) or not 8 * v.SECTOR <= block <= v.MAX_BLOCK:
            report.error("V03", header.offset + 32, "dynamic header",
                         "block size %d is not a power of two in 4 KiB..256 MiB" % block)
            return False
        needed = -(-self.footer.current_size // block)
        if header.entries < needed:
            report.error("V03", header.offset + 28, "dynamic header",
                         "MaxTableEntries %d, the disk needs %d" % (header.entries, needed))
        elif header.entries > needed:
            report.warning("V03", header.offset + 28, "dynamic header",
                           "MaxTableEntries %d, the disk needs only %d" % (header.entries, needed))
        if header.entries > v.MAX_ENTRIES:
            report.error("V03", header.offset + 28, "dynamic header",
                         "MaxTableEntries %d exceeds 2^22" % header.entries)
        if header.table_offset % v.SECTOR:
            report.error("V03", header.offset + 16, "dynamic header",
                         "TableOffset 0x%x is not sector aligned" % header.table_offset)
        if header.table_offset + 4 * header.entries > self.footers.data_end:
            report.error("V03", header.offset + 16, "dynamic header",
                         "BAT [0x%x, +%d) ends past 0x%x" % (
                             header.table_offset, 4 * header.entries, self.footers.data_end))
        table = header.table_offset, header.table_offset + 4 * header.entries
        for start, end, name in self._fixed_places():
            if table[0] < end and start < table[1]:
                report.error("V03", header.offset + 16, "dynamic header",
                             "BAT [0x%x, 0x%x) overlaps the %s" % (*table, name))
        self.bitmap_size = v.round_up(block // v.SECTOR // 8, v.SECTOR)
        return report.error_count() == before

    def _fixed_places(self):
        return ((0, v.FOOTER_SIZE, "footer copy"),
                (self.header.offset, self.header.offset + v.HEADER_SIZE, "dynamic header"))

    def _check_locators(self):
        """V06: the parent's name and the eight locators."""
        header, report = self.header, self.report
        self.parent_name = _text(header.parent_name, "utf-16-be").split("\0")[0]
        used = []
        for locator in header.locators:
            name = "parent locator %r" % locator.code
            if locator.code not in v.PLATFORMS:
                report.error("V06", locator.place, name, "platform code is unknown")
                continue
            if locator.code == v.PLATFORMS[0]:
                if locator.length or locator.offset:
                    report.warning("V06", locator.place, name, "unused, but has data")
                continue
            # Some writers count the space in sectors, some in bytes: take the larger reading.
            if locator.length > locator.space * v.SECTOR:
                report.error("V06", locator.place, name, "length %d exceeds its space (%d)"
                             % (locator.length, locator.space))
            elif locator.offset + locator.length > self.footers.data_end:
                report.error("V06", locator.place, name, "data [0x%x, +%d) ends past 0x%x"
                             % (locator.offset, locator.length, self.footers.data_end))
            elif locator.length > MAX_TEXT:
                report.error("V06", locator.place, name, "text of %d bytes" % locator.length)
            else:
                used.append(locator)
                self.locators.append((locator.code, self._locator_text(locator)))
        report.facts.update(
            parent_id=str(header.parent_id), parent_timestamp=header.parent_timestamp,
            parent_name=self.parent_name,
            parent_locators=[{"code": code.decode("latin-1"), "text": text}
                             for code, text in self.locators])
        self._used_locators = used
        self.linkable = True
        if not self.locators and not self.parent_name:
            report.error("V06", header.offset + 64, "dynamic header",
                         "no locator and no name for the parent")

    def _locator_text(self, locator):
        raw = self.source.read(locator.offset, locator.length)
        if locator.code in (b"W2ru", b"W2ku"):
            return _text(raw, "utf-16-le").split("\0")[0]
        return _text(raw, "utf-8").split("\0")[0]

    def _structures(self):
        """V04: the ranges that no block may touch."""
        space, header = RangeMap(), self.header
        for place in self._fixed_places():
            space.add(*place)
        table_end = header.table_offset + v.round_up(4 * header.entries, v.SECTOR)
        space.add(header.table_offset, table_end, "BAT")
        if self.has_parent:
            for locator in self._used_locators:
                space.add(locator.offset, locator.offset + locator.length,
                          "parent locator %r" % locator.code)
        if self.footer.creator == b"tap\0":
            self._add_batmap(space, table_end)
        for first, second in space.conflicts():
            self.report.error("V04", second[0], second[2], "overlaps the %s at [0x%x, 0x%x)"
                              % (first[2], first[0], first[1]))
        return space

    def _add_batmap(self, space, place):
        """The Xen extra behind the BAT (72 bytes that say where the map lies)."""
        raw = self.source.read_upto(place, 24)
        if raw[:8] != b"tdbatmap" or len(raw) < 24:
            return
        offset = int.from_bytes(raw[8:16], "big")
        length = int.from_bytes(raw[16:20], "big") * v.SECTOR
        self.report.facts["batmap"] = {"offset": offset, "length": length}
        space.add(place, place + v.SECTOR, "batmap header")
        if offset + length <= self.footers.data_end:
            space.add(offset, offset + length, "batmap")

    def _read_bat(self):
        bat = array("I")
        place, left = self.header.table_offset, 4 * self.header.entries
        while left:
            piece = self.source.read(place, min(left, _PIECE))
            bat.frombytes(piece)
            place += len(piece)
            left -= len(piece)
        if sys.byteorder == "little":
            bat.byteswap()
        return bat

    def _check_bat(self):
        """V04: every allocated block, then V05 and V08 on what they leave."""
        report, header, space = self.report, self.header, self._structures()
        self.bat = self._read_bat()
        span = self.bitmap_size + header.block_size
        limit, outside, allocated = self.footers.data_end, 0, []
        for index, sector in enumerate(self.bat):
            if sector == v.UNUSED:
                continue
            start = sector * v.SECTOR
            place = header.table_offset + 4 * index
            name = "BAT entry %d" % index
            if start + self.bitmap_size + self._used_length(index) > limit:
                outside += 1
                report.error("V04", place, name, "block [0x%x, +0x%x) ends past 0x%x"
                             % (start, span, limit))
                continue
            if start + span > limit:
                # Old writers end the file where the disk ends; nothing that counts is missing.
                report.warning("V04", place, name, "block [0x%x, +0x%x) is cut off at 0x%x, "
                               "behind the end of the disk" % (start, span, limit))
            allocated.append((start, index))
            for owner in space.overlapping(start, start + span):
                report.error("V04", place, name, "block 0x%x overlaps the %s" % (start, owner))
        allocated.sort()
        for (low, first), (high, second) in zip(allocated, allocated[1:]):
            if low + span > high:
                report.error("V04", header.table_offset + 4 * second, "BAT entry %d" % second,
                             "block 0x%x overlaps that of entry %d at 0x%x" % (high, first, low))
        report.facts["blocks_allocated"] = len(allocated) + outside
        self._check_growth(outside, allocated, span)
        self._check_bitmaps(allocated)

    def _used_length(self, index):
        """Bytes of a block that are bytes of the disk; all of them in spare entries."""
        left = self.footer.current_size - index * self.header.block_size
        return left if 0 < left < self.header.block_size else self.header.block_size

    def _check_growth(self, outside, allocated, span):
        """V08: whether the growth order can have left this state."""
        end = self.footers.data_end
        if outside and not self.footers.trailing_valid:
            self.report.error("V08", self.header.table_offset, "BAT", "no footer at the end and "
                              "%d BAT entries past it: an entry was written before its block and "
                              "footer" % outside)
        last = allocated[-1][0] + span if allocated else None
        if last is not None and self.footers.trailing_valid and end - last >= span:
            self.report.note("V08", last, "file", "%d bytes before the footer belong to no block"
                             % (end - last))

    def _check_bitmaps(self, allocated):
        """V05: bits behind the block's last sector are zero (a dynamic disk may set them all)."""
        sectors = self.header.block_size // v.SECTOR
        partial = 0
        for start, index in allocated:
            raw = self.source.read(start, self.bitmap_size)
            used, tail = raw[:sectors // 8], raw[sectors // 8:]
            partial += used.count(0xFF) != len(used)
            if any(tail) and self.has_parent:
                self.report.error("V05", start + sectors // 8, "bitmap of block %d" % index,
                                  "bits behind the block's last sector are set")
            elif any(tail) and tail.count(0xFF) != len(tail):
                self.report.warning("V05", start + sectors // 8, "bitmap of block %d" % index,
                                    "padding is neither all zeros nor all ones")
            past = self._bits_past_disk(index, used) if self.has_parent else False
            if past:
                self.report.error("V05", start, "bitmap of block %d" % index,
                                  "bits of sectors past the end of the disk are set")
        self.report.facts["blocks_with_partial_bitmap"] = partial

    def _bits_past_disk(self, index, raw):
        left = self.footer.current_size - index * self.header.block_size
        if left >= self.header.block_size:
            return False
        inside = max(0, left) // v.SECTOR
        return any(present and at + count > inside
                   for at, count, present in self._runs(raw, len(raw) * 8))

    def _runs(self, raw, count):
        reversed_bits = (self.footer.creator == b"tap\0" and self.footer.creator_version == 1)
        return (bits.runs_lsb if reversed_bits else bits.runs_msb)(raw, count)

    def extents(self, start, end):
        """Yields (offset, length, kind, source offset): kind is data, zero or parent."""
        if self.footer.kind == v.FIXED:
            yield start, end - start, "data", start
            return
        absent = "parent" if self.has_parent else "zero"
        size = self.header.block_size
        for index in range(start // size, (end - 1) // size + 1):
            low, high = max(start, index * size), min(end, (index + 1) * size)
            if self.bat[index] == v.UNUSED:
                yield low, high - low, absent, None
            else:
                yield from self._block(index, low, high, absent)

    def _block(self, index, low, high, absent):
        place = self.bat[index] * v.SECTOR
        raw = self.source.read(place, self.bitmap_size)
        base, data = index * self.header.block_size, place + self.bitmap_size
        for at, count, present in self._runs(raw, self.header.block_size // v.SECTOR):
            from_ = max(low, base + at * v.SECTOR)
            to = min(high, base + (at + count) * v.SECTOR)
            if from_ < to:
                yield (from_, to - from_, "data" if present else absent,
                       data + from_ - base if present else None)


def _text(raw, encoding):
    """Names may hold unpaired surrogates: they are kept visible, never fatal."""
    return raw[:len(raw) // 2 * 2 if encoding.startswith("utf-16") else len(raw)].decode(
        encoding, "replace")
