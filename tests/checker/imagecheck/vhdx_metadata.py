"""Metadata table, known items and the parent locator (X08-X10, X17)."""
import re
import uuid

from . import vhdx_layout as v

# guid: (name, exact size or None, IsVirtualDisk)
KNOWN = {
    v.FILE_PARAMETERS: ("file parameters", 8, False),
    v.VIRTUAL_SIZE: ("virtual disk size", 8, True),
    v.PAGE83: ("page 83 data", 16, True),
    v.LOGICAL_SECTOR: ("logical sector size", 4, True),
    v.PHYSICAL_SECTOR: ("physical sector size", 4, True),
    v.PARENT_LOCATOR: ("parent locator", None, False),
}
PATH_KEYS = ("relative_path", "volume_path", "absolute_win32_path")
_LINKAGE = re.compile(r"\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}\Z")
MAX_LOCATOR_ENTRIES = 4096


class Metadata:
    """What the items say; a field is None where its item is absent or unusable."""

    def __init__(self):
        self.block_size = self.virtual_size = self.page83 = None
        self.logical = self.physical = None
        self.leave_allocated = self.has_parent = False
        self.locator = None


def item_name(entry):
    if entry.flags & 1 == 0 and entry.guid in KNOWN:
        return KNOWN[entry.guid][0]
    return ("user item " if entry.flags & 1 else "item ") + str(entry.guid)


def check_metadata(source, region, report):
    """X08-X10, X17. Returns a Metadata whose required fields are good, or None."""
    before = report.error_count()
    table = source.read_upto(region.offset, min(region.length, v.METADATA_TABLE_SIZE))
    if table[:8] != b"metadata":
        report.error("X08", region.offset, "metadata table", "signature is not 'metadata'")
        return None
    count = int.from_bytes(table[10:12], "little")
    if count > v.MAX_TABLE_ENTRIES:
        report.error("X08", region.offset + 10, "metadata table",
                     "EntryCount %d exceeds 2047" % count)
        return None
    if any(table[8:10]) or any(table[12:32]):
        report.warning("X08", region.offset, "metadata table", "reserved bytes are not zero")
    entries = [v.decode_item(table, 32 + 32 * i, region.offset + 32 + 32 * i)
               for i in range(count)]
    good = _check_table(entries, region, report)
    items = _pick_items(good, report)
    metadata = _decode_items(source, region, items, report)
    _check_values(metadata, items, region, report)
    _check_parent(source, region, items, metadata, report)
    return metadata if report.error_count() == before else None


def _check_table(entries, region, report):
    """X08; returns the entries whose place is usable."""
    seen, good, user = set(), [], 0
    for entry in entries:
        user += entry.flags & 1
        key = (entry.guid, entry.flags & 1)
        if key in seen:
            report.error("X08", entry.place, item_name(entry), "listed twice")
        seen.add(key)
        if entry.flags & ~7 or entry.reserved:
            report.warning("X08", entry.place, item_name(entry), "reserved bits are set")
        fault = _place_fault(entry, region)
        if fault:
            report.error("X08", entry.place, item_name(entry), fault)
        else:
            good.append(entry)
    if user > v.MAX_USER_ITEMS:
        report.error("X08", region.offset + 10, "metadata table", "%d user entries exceed 1024"
                     % user)
    placed = sorted((e for e in good if e.length), key=lambda e: e.offset)
    for first, second in zip(placed, placed[1:]):
        if first.offset + first.length > second.offset:
            report.error("X08", second.place, item_name(second), "overlaps the %s item at +0x%x"
                         % (item_name(first), first.offset))
    return good


def _place_fault(entry, region):
    if entry.length == 0:
        return "empty, but its offset is 0x%x" % entry.offset if entry.offset else None
    if entry.length > v.MAX_ITEM:
        return "length %d exceeds 1 MiB" % entry.length
    if entry.offset < v.METADATA_TABLE_SIZE:
        return "offset 0x%x lies inside the table" % entry.offset
    if entry.offset + entry.length > region.length:
        return "[+0x%x, +0x%x) leaves the metadata region" % (entry.offset,
                                                              entry.offset + entry.length)
    return None


def _pick_items(entries, report):
    """X09; returns {guid: entry} of the known system items."""
    items = {}
    for entry in entries:
        known = entry.guid in KNOWN and not entry.flags & 1
        if not known:
            if entry.flags & 4:
                report.error("X09", entry.place, item_name(entry), "required but unknown")
            continue
        name, _, is_disk = KNOWN[entry.guid]
        items.setdefault(entry.guid, entry)
        if bool(entry.flags & 2) != is_disk or not entry.flags & 4:
            report.warning("X09", entry.place + 24, name,
                           "flags 0x%x, expected 0x%x" % (entry.flags, 6 if is_disk else 4))
    return items


def _decode_items(source, region, items, report):
    result = Metadata()
    values = {}
    for guid, (name, size, _) in KNOWN.items():
        if guid not in items:
            if size is not None:
                report.error("X09", region.offset, "metadata table", "no %s item" % name)
            continue
        entry = items[guid]
        if size is not None and entry.length != size:
            report.error("X09", entry.place + 20, name, "length %d, not %d"
                         % (entry.length, size))
        elif size is not None:
            values[guid] = source.read(region.offset + entry.offset, size)
    if v.FILE_PARAMETERS in values:
        raw = values[v.FILE_PARAMETERS]
        flags = int.from_bytes(raw[4:8], "little")
        result.block_size = int.from_bytes(raw[:4], "little")
        result.leave_allocated, result.has_parent = bool(flags & 1), bool(flags & 2)
        if flags & ~3:
            report.warning("X09", region.offset + items[v.FILE_PARAMETERS].offset + 4,
                           "file parameters", "reserved flag bits are set (0x%x)" % flags)
    for guid, field in ((v.VIRTUAL_SIZE, "virtual_size"), (v.LOGICAL_SECTOR, "logical"),
                        (v.PHYSICAL_SECTOR, "physical")):
        if guid in values:
            setattr(result, field, int.from_bytes(values[guid], "little"))
    if v.PAGE83 in values:
        result.page83 = v.guid(values[v.PAGE83])
    return result


def _check_values(metadata, items, region, report):
    """X10."""
    def error(guid, text):
        report.error("X10", region.offset + items[guid].offset, KNOWN[guid][0], text)

    size, block = metadata.virtual_size, metadata.block_size
    if block is not None and not (v.power_of_two(block) and v.MIB <= block <= 256 * v.MIB):
        error(v.FILE_PARAMETERS, "block size %d is not a power of two in 1..256 MiB" % block)
    for guid, value in ((v.LOGICAL_SECTOR, metadata.logical),
                        (v.PHYSICAL_SECTOR, metadata.physical)):
        if value is not None and value not in (512, 4096):
            error(guid, "%d, neither 512 nor 4096" % value)
    if size is not None:
        if size == 0 or size > v.MAX_DISK:
            error(v.VIRTUAL_SIZE, "%d is not in 1..64 TiB" % size)
        elif metadata.logical in (512, 4096) and size % metadata.logical:
            error(v.VIRTUAL_SIZE, "%d is not a multiple of the logical sector size" % size)
    report.facts.update(block_size=block, virtual_size=size, logical_sector_size=metadata.logical,
                        physical_sector_size=metadata.physical, has_parent=metadata.has_parent,
                        leave_block_allocated=metadata.leave_allocated,
                        page83=str(metadata.page83) if metadata.page83 else None)


def _check_parent(source, region, items, metadata, report):
    """X17."""
    entry = items.get(v.PARENT_LOCATOR)
    if entry is None:
        if metadata.has_parent:
            report.error("X17", region.offset, "parent locator",
                         "HasParent is set but there is no locator item")
        return
    if not metadata.has_parent:
        report.error("X17", entry.place, "parent locator",
                     "a locator item exists but HasParent is clear")
    raw = source.read(region.offset + entry.offset, entry.length) if entry.length else b""
    base = region.offset + entry.offset
    pairs = parse_locator(raw, base, report)
    if pairs is None:
        return
    metadata.locator = pairs
    report.facts["parent_locator"] = pairs
    for key in ("parent_linkage", "parent_linkage2"):
        if key in pairs and not _LINKAGE.match(pairs[key]):
            report.error("X17", base, "parent locator", "%s is not a GUID in braces: %r"
                         % (key, pairs[key][:64]))
    if "parent_linkage" not in pairs:
        report.error("X17", base, "parent locator", "no parent_linkage")
    if not any(key in pairs for key in PATH_KEYS):
        report.error("X17", base, "parent locator", "no path key at all")


def parse_locator(raw, base, report):
    """Key/value pairs of a parent locator item, or None if it cannot be decoded."""
    name, before = "parent locator", report.error_count()
    if len(raw) < 20:
        report.error("X17", base, name, "item of %d bytes: shorter than its header" % len(raw))
        return None
    kind = v.guid(raw[:16])
    if kind != v.VHDX_LOCATOR_TYPE:
        report.error("X17", base, name, "locator type %s is unknown" % kind)
        return None
    count = int.from_bytes(raw[18:20], "little")
    if 20 + 12 * count > len(raw) or count > MAX_LOCATOR_ENTRIES:
        report.error("X17", base + 18, name, "KeyValueCount %d does not fit the item" % count)
        return None
    pairs = {}
    for index in range(count):
        entry = v.decode_locator(raw, 20 + 12 * index)
        key = _text(raw, entry.key_offset, entry.key_length, base, "key %d" % index, report)
        value = _text(raw, entry.value_offset, entry.value_length, base, "value %d" % index,
                      report)
        if key is None or value is None:
            continue
        if key in pairs:
            report.error("X17", base + entry.place, name, "key %r occurs twice" % key)
            continue
        pairs[key] = value
    return pairs if report.error_count() == before else None


def _text(raw, offset, length, base, what, report):
    fault = None
    if length == 0 or length % 2:
        fault = "length %d is zero or odd" % length
    elif offset + length > len(raw) or offset < 20:
        fault = "[+0x%x, +0x%x) leaves the item" % (offset, offset + length)
    else:
        try:
            text = raw[offset:offset + length].decode("utf-16-le")
        except UnicodeDecodeError:
            fault = "is not valid UTF-16"
        else:
            if "\0" not in text:
                return text
            fault = "contains a NUL"
    report.error("X17", base + min(offset, len(raw)), "parent locator", "%s: %s" % (what, fault))
    return None


def linkage_guid(text):
    """The GUID of a `{...}` linkage value."""
    return uuid.UUID(text[1:-1])
