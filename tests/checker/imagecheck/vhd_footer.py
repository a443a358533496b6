"""Finding and judging the footers of a VHD (V01, V02, V07, V08)."""
from . import vhd_layout as v

_LAYOUT_FIELDS = ("unique_id", "kind", "current_size", "data_offset")


class Footers:
    """The footer in force and where the space before it ends."""

    def __init__(self, footer, data_end, trailing_valid, copy_valid):
        self.footer = footer
        self.data_end = data_end
        self.trailing_valid = trailing_valid
        self.copy_valid = copy_valid


def _read(source, offset, length):
    """(footer or None, fault or None) for the bytes at `offset`."""
    raw = source.read_upto(offset, length) if offset >= 0 else b""
    if len(raw) < v.SHORT_FOOTER:
        return None, "no room for a footer"
    raw = raw.ljust(v.FOOTER_SIZE, b"\0")
    if raw[:8] != b"conectix":
        return None, "cookie is not 'conectix'"
    footer = v.decode_footer(raw, offset)
    if v.checksum(raw, 64) != footer.checksum:
        return None, "checksum does not match"
    return footer, None


def _trailing(source):
    """The footer at the end of the file: 512 bytes, or the 511 of old Virtual PC."""
    best = _read(source, source.size - v.FOOTER_SIZE, v.FOOTER_SIZE)
    if best[0] is None and source.size >= v.SHORT_FOOTER:
        short = _read(source, source.size - v.SHORT_FOOTER, v.SHORT_FOOTER)
        if short[0] is not None or source.read_upto(source.size - 511, 8) == b"conectix":
            return short, source.size - v.SHORT_FOOTER
    return best, source.size - v.FOOTER_SIZE


def find(source, report):
    """V01, V02, V08 as far as footers alone tell. Returns Footers, or None."""
    (last, last_fault), last_offset = _trailing(source)
    first, first_fault = _read(source, 0, v.FOOTER_SIZE)
    if first is not None and (first.kind == v.FIXED or source.size <= v.FOOTER_SIZE):
        # A fixed image has no copy: what lies at 0 belongs to the disk.
        first, first_fault = None, "a fixed disk has no copy"
    if last is None and first is None:
        report.error("V01", max(last_offset, 0), "footer", last_fault)
        if first_fault != "a fixed disk has no copy" and source.read_upto(0, 8) == b"conectix":
            report.error("V02", 0, "footer copy", first_fault)
            report.error("V08", max(last_offset, 0), "footers",
                         "neither footer is valid: no crash of an ordered writer leaves this")
        return None
    if last is None:
        text = last_fault + "; the copy at offset 0 serves"
        report.warning("V02", max(last_offset, 0), "footer", text)
        report.warning("V08", max(last_offset, 0), "footer", "interrupted growth or damage: "
                       + text)
        return Footers(first, source.size, False, True)
    footers = Footers(last, last_offset, True, first is not None)
    if last.raw[511:] == b"\0" and last_offset == source.size - v.SHORT_FOOTER:
        report.warning("V01", last_offset, "footer", "511 bytes long (old Virtual PC)")
    if last.kind in (v.DYNAMIC, v.DIFFERENCING):
        _check_copy(first, first_fault, last, report)
    return footers


def _check_copy(copy, fault, footer, report):
    """V02: the copy at offset 0 equals the footer."""
    if copy is None:
        report.warning("V02", 0, "footer copy", fault + "; the footer at the end serves")
        return
    if copy.raw == footer.raw:
        return
    differing = [name for name in footer._fields
                 if name not in ("offset", "raw", "checksum")
                 and getattr(copy, name) != getattr(footer, name)] or ["reserved bytes"]
    text = "both footers are valid but differ in " + ", ".join(differing)
    if any(name in _LAYOUT_FIELDS for name in differing):
        report.error("V02", 0, "footer copy", text)
    else:
        report.warning("V02", 0, "footer copy", text)


def check_fields(source, footers, report):
    """V01, V07. Returns whether the layout may be followed."""
    footer, before = footers.footer, report.error_count()
    place = footer.offset

    def error(field, text):
        report.error("V01", place + field, "footer", text)

    if footer.version >> 16 != 1:
        error(12, "file format version 0x%08x, not 1.0" % footer.version)
    elif footer.version != 0x10000:
        report.warning("V01", place + 12, "footer", "file format version 0x%08x"
                       % footer.version)
    if not footer.features & 2:
        report.warning("V01", place + 8, "footer", "reserved feature bit is clear")
    if footer.features & ~3:
        report.warning("V01", place + 8, "footer", "unknown feature bits 0x%x" % footer.features)
    if footer.kind not in v.TYPE_NAMES:
        error(60, "disk type %d is not fixed, dynamic or differencing" % footer.kind)
    if footer.current_size == 0:
        error(48, "Current Size is zero")
    if footer.current_size % v.SECTOR:
        error(48, "Current Size %d is not a multiple of 512" % footer.current_size)
    if footer.current_size > v.MAX_SIZE:
        error(48, "Current Size %d exceeds 2040 GiB" % footer.current_size)
    if footer.saved_state:
        report.note("V01", place + 84, "footer", "saved state flag is set: do not write")
    if footer.kind == v.FIXED:
        _check_fixed(footers, report, error)
    check_geometry(footer, report)
    return report.error_count() == before


def _check_fixed(footers, report, error):
    footer = footers.footer
    if footers.data_end < footer.current_size:
        error(48, "Current Size %d, but only %d bytes of data before the footer"
              % (footer.current_size, footers.data_end))
    elif footers.data_end > footer.current_size:
        report.warning("V01", footer.offset + 48, "footer", "Current Size %d, but %d bytes lie "
                       "before the footer" % (footer.current_size, footers.data_end))
    if footer.data_offset not in (v.ALL_ONES, v.UNUSED):
        report.warning("V01", footer.offset + 16, "footer", "Data Offset 0x%x of a fixed disk"
                       % footer.data_offset)


def check_geometry(footer, report):
    """V07: flags a geometry that the specification's algorithm would not give."""
    expected = v.geometry(footer.current_size)
    place = footer.offset + 56
    if footer.geometry == v.MAX_GEOMETRY and expected != v.MAX_GEOMETRY:
        report.note("V07", place, "footer", "geometry is the maximum: Current Size counts")
    elif footer.geometry != expected:
        report.warning("V07", place, "footer", "geometry %s, the algorithm gives %s"
                       % (footer.geometry, expected))
    size = virtual_size(footer, "auto")
    if size != footer.current_size:
        report.warning("V07", place, "footer", "creator %r means the geometry: %d bytes, not "
                       "Current Size %d" % (footer.creator, size, footer.current_size))


def virtual_size(footer, rule):
    """Disk size in bytes by `rule`: "current", "chs", or "auto" (by creator).

    The geometry counts only where it describes a part of Current Size.
    """
    chs = v.geometry_size(footer.geometry)
    usable = 0 < chs <= footer.current_size and footer.geometry != v.MAX_GEOMETRY
    if rule == "chs" or (rule == "auto" and footer.creator in v.CHS_CREATORS):
        return chs if usable else footer.current_size
    return footer.current_size
