"""A VHDX image: all checks in order, then its extents for reading."""
import bisect

from . import bits, vhdx_bat, vhdx_geometry, vhdx_header, vhdx_log, vhdx_metadata
from . import vhdx_layout as v


class VhdxImage:
    """Checked on construction. `readable` tells whether extents() may be used."""

    kind_name = "vhdx"

    def __init__(self, source, report):
        self.source = source
        self.report = report
        self.readable = False
        self.view = self.header = self.metadata = self.geometry = self.regions = None
        self.log_run = []
        report.facts.update(format="vhdx", file_size=source.size)
        self._check()

    @property
    def size(self):
        return self.metadata.virtual_size

    @property
    def sector_size(self):
        return self.metadata.logical

    @property
    def has_parent(self):
        return bool(self.metadata and self.metadata.has_parent)

    @property
    def linkable(self):
        """Whether the parent can be looked for, even if the contents are damaged."""
        return self.has_parent and bool(self.metadata.locator)

    def _check(self):
        report = self.report
        if not vhdx_header.check_identifier(self.source, report):
            return
        self.header = vhdx_header.check_headers(self.source, report)
        if self.header is None:
            return
        self.view, self.log_run = vhdx_log.replay(self.source, self.header, report)
        if self.view is None:
            return
        before = report.error_count("X")
        self._check_structures()
        if self.log_run and report.error_count("X") > before:
            report.error("L10", None, "log", "after replay of entries %d..%d %d structure rules "
                         "are broken" % (self.log_run[0].sequence, self.log_run[-1].sequence,
                                         report.error_count("X") - before))

    def _check_structures(self):
        report = self.report
        self.regions = vhdx_header.check_regions(self.view, report, not self.log_run)
        if self.regions is None:
            return
        before = report.error_count()
        space = vhdx_bat.check_space(self.header, self.regions, report)
        self.metadata = vhdx_metadata.check_metadata(
            self.view, self.regions[v.METADATA_REGION], report)
        if self.metadata is None:
            return
        report.facts["kind"] = self._kind()
        self.geometry = vhdx_geometry.Geometry(self.metadata, self.regions[v.BAT_REGION])
        if not vhdx_bat.check_geometry(self.geometry, report):
            return
        if self.metadata.leave_allocated and self.has_parent:
            report.note("X16", None, "file parameters",
                        "LeaveBlocksAllocated is set beside HasParent and ignored")
        checker = vhdx_bat.BatChecker(self.view, self.geometry, self.metadata, space, report)
        checker.check()
        self._check_size(checker)
        self._check_log_targets()
        self.readable = report.error_count() == before

    def _kind(self):
        if self.has_parent:
            return "differencing"
        return "fixed" if self.metadata.leave_allocated else "dynamic"

    def _check_size(self, checker):
        size = self.view.size
        if checker.past_end:
            self.report.error("X18", None, "file", "%d bytes, but data of the disk reaches 0x%x"
                              % (size, checker.past_end))
        elif size < checker.last_end:
            self.report.warning("X18", None, "file", "%d bytes, but structures reach 0x%x"
                                % (size, checker.last_end))
        if not self.log_run and size % v.MIB:
            self.report.warning("X18", None, "file", "%d bytes: not a multiple of 1 MiB" % size)

    def _check_log_targets(self):
        """L05, after the fact: what kind of structure each logged page belongs to."""
        if not self.log_run:
            return
        tables = [(offset, offset + v.REGION_TABLE_SIZE) for offset in v.REGION_OFFSETS]
        tables += [(e.offset, e.offset + e.length) for e in self.regions.values()]
        tables.sort()
        starts = [start for start, _ in tables]
        strays = [page for page in self.view.pages() if page < starts[0] or
                  page >= tables[bisect.bisect_right(starts, page) - 1][1]]
        bitmaps = set()
        if strays and self.has_parent:
            g = self.geometry
            for chunk in range(g.chunks):
                value = self._entry(g.bitmap_index(chunk))
                if vhdx_geometry.state(value) == 6:
                    bitmaps.add(vhdx_geometry.offset_of(value))
        for page in strays:
            if page - page % v.MIB not in bitmaps:
                self.report.warning("L05", page, "log", "a data descriptor rewrites 4 KiB that "
                                    "belong to no metadata structure (payload must not be logged)")

    def _entry(self, index):
        return int.from_bytes(self.view.read(self.geometry.place(index), 8), "little")

    def identity_guid(self):
        return self.header.data_write

    def linkage(self):
        """(parent_linkage, parent_linkage2 or None) as GUIDs."""
        pairs = self.metadata.locator or {}
        texts = [pairs.get("parent_linkage"), pairs.get("parent_linkage2")]
        return [vhdx_metadata.linkage_guid(text) if text else None for text in texts]

    def extents(self, start, end):
        """Yields (offset, length, kind, source offset): kind is data, zero or parent."""
        g = self.geometry
        absent = "parent" if self.has_parent else "zero"
        first = g.payload_index(start // g.block_size)
        last = g.payload_index((end - 1) // g.block_size) + 1
        for index, count, value in vhdx_geometry.runs(self.view, g, first, last):
            kind = vhdx_geometry.state(value)
            if kind in (v.FULL, v.PARTIAL):
                for each in range(index, index + count):
                    if not g.is_bitmap(each):
                        yield from self._block(g.block_of(each), value, start, end)
                continue
            group = g.ratio + 1
            payload = count - ((index + count) // group - index // group)
            if not payload:
                continue
            block = g.block_of(index + (1 if g.is_bitmap(index) else 0))
            low = max(start, block * g.block_size)
            high = min(end, (block + payload) * g.block_size)
            if low < high:
                yield low, high - low, absent if kind == v.NOT_PRESENT else "zero", None

    def _block(self, block, value, start, end):
        g = self.geometry
        base = block * g.block_size
        low, high = max(start, base), min(end, base + g.block_size)
        if low >= high:
            return
        offset = vhdx_geometry.offset_of(value)
        if vhdx_geometry.state(value) == v.FULL:
            yield low, high - low, "data", offset + low - base
            return
        chunk, inside = divmod(block, g.ratio)
        bitmap = vhdx_geometry.offset_of(self._entry(g.bitmap_index(chunk)))
        per_block = g.block_size // g.sector
        raw = self.view.read(bitmap + inside * per_block // 8, per_block // 8)
        for at, length, present in bits.runs_lsb(raw, per_block):
            from_, to = max(low, base + at * g.sector), min(high, base + (at + length) * g.sector)
            if from_ < to:
                yield (from_, to - from_, "data" if present else "parent",
                       offset + from_ - base if present else None)
