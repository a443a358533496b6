"""Ways to break one thing and repair the checksums around it. Each returns a function of a Case."""
from . import vhdx_writer
from .vhdx_writer import HEADERS, ITEMS, REGIONS

CURRENT, OTHER, BOTH = (1,), (0,), (0, 1)


class Violation:
    """One row: a base, a damage, and the ids that must be reported with `severity`."""

    def __init__(self, name, ids, base, *damage, severity="error", **options):
        self.name = name
        self.ids = frozenset(ids.split())
        self.severity = severity
        self.options = options
        self.undamaged = base
        self.damage = damage

    def build(self):
        """A fresh damaged Case."""
        case = self.undamaged()
        for change in self.damage:
            change(case)
        return case


def raw(offset, data):
    """Overwrites bytes, repairs nothing."""
    return lambda case: case.target.file.write(offset, data)


def flip(offset):
    """Inverts one byte, repairs nothing."""
    return lambda case: case.target.file.flip(offset)


def cut(size):
    """Truncates; a negative size counts from the end."""
    def step(case):
        file = case.target.file
        file.truncate(size if size >= 0 else file.size + size)
    return step


def grow(count):
    """Appends zeros."""
    return lambda case: case.target.file.truncate(case.target.file.size + count)


def header(offset, form, value, copies=CURRENT):
    """A field of VHDX headers, checksums repaired."""
    def step(case):
        for copy in copies:
            case.target.file.pack(HEADERS[copy] + offset, form, value)
        case.target.fix_headers()
    return step


def region(offset, form, value, copies=BOTH):
    """A field of VHDX region tables, checksums repaired."""
    def step(case):
        for copy in copies:
            case.target.file.pack(REGIONS[copy] + offset, form, value)
        case.target.fix_regions()
    return step


def regions(make):
    """Replaces the region entries by make(image, usual entries)."""
    def step(case):
        image = case.target
        usual = [(vhdx_writer.BAT_ID, image.bat_offset, image.bat_length, 1),
                 (vhdx_writer.METADATA_ID, image.metadata_offset, image.metadata_length, 1)]
        image.write_regions(make(image, usual))
    return step


def item(name, form, value, offset=0):
    """The value of a metadata item."""
    return lambda case: case.target.file.pack(case.target.item_place(name) + offset, form, value)


def item_entry(name, offset, form, value):
    """A field of a metadata table entry."""
    return lambda case: case.target.file.pack(case.target.table_place(name) + offset, form, value)


def add_items(entries):
    """Appends (guid, offset, length, flags) to the metadata table."""
    def step(case):
        image = case.target
        count = image.file.unpack(image.metadata_offset + 10, "<H")
        for number, (guid, offset, length, flags) in enumerate(entries, count):
            image.file.pack(image.metadata_offset + 32 + 32 * number, "<16sIIII", guid.bytes_le,
                            offset, length, flags, 0)
        image.file.pack(image.metadata_offset + 10, "<H", count + len(entries))
    return step


def drop_item(name):
    """Renames an item to an unknown optional one."""
    def step(case):
        place = case.target.table_place(name)
        guid = vhdx_writer.fixed_guid(500)
        case.target.file.write(place, guid.bytes_le)
        case.target.file.pack(place + 24, "<I", ITEMS[name][1] & ~4)
    return step


def entry(block, change):
    """A payload entry: `change` is a value, or a function of (image, old value)."""
    def step(case):
        image, place = case.target, case.target.bat_place(block)
        old = image.file.unpack(place, "<Q")
        image.file.pack(place, "<Q", change(image, old) if callable(change) else change)
    return step


def bitmap_entry(chunk, change):
    """A bitmap entry, like `entry`."""
    def step(case):
        image, place = case.target, case.target.bitmap_place(chunk)
        old = image.file.unpack(place, "<Q")
        image.file.pack(place, "<Q", change(image, old) if callable(change) else change)
    return step


def locator(make, **changes):
    """Replaces the locator pairs of a VHDX by make(usual pairs)."""
    return lambda case: case.target.set_locator(make(list(case.target.locator)), **changes)


def footer(offset, form, value, copy=True, last=True):
    """A field of VHD footers, checksums repaired."""
    def step(case):
        image = case.target
        if last:
            image.file.pack(image.footer_place + offset, form, value)
        if copy and image.kind != 2:
            image.file.pack(offset, form, value)
        image.fix_footers()
    return step


def dynamic(offset, form, value):
    """A field of the VHD dynamic header, checksum repaired."""
    def step(case):
        case.target.file.pack(case.target.header_place + offset, form, value)
        case.target.fix_header()
    return step


def vhd_entry(block, change):
    """A VHD BAT entry: a sector number, or a function of (image, old value)."""
    def step(case):
        image, place = case.target, case.target.entry_place(block)
        old = image.file.unpack(place, ">I")
        image.file.pack(place, ">I", change(image, old) if callable(change) else change)
    return step


def step(function):
    """Any function of the target image."""
    return lambda case: function(case.target)
