"""File identifier, headers and region tables (X01-X06)."""
from .crc32c import crc32c_with_zeroed_field
from . import vhdx_layout as v


def check_identifier(source, report):
    """X01. Returns whether the file can be looked at any further."""
    if source.read_upto(0, 8) != b"vhdxfile":
        report.error("X01", 0, "file identifier", "signature is not 'vhdxfile'")
        return False
    if source.size < v.HEADER_SECTION:
        report.error("X01", 0, "file", "%d bytes: shorter than the 1 MiB header section"
                     % source.size)
        return False
    creator = source.read(8, 512).decode("utf-16-le", "replace").split("\0")[0]
    report.facts["creator"] = creator
    return True


def _read_header(source, offset):
    """(header, what is wrong with it or None)."""
    raw = source.read(offset, v.HEADER_SIZE)
    header = v.decode_header(raw, offset)
    if raw[:4] != b"head":
        return header, "signature is not 'head'"
    if crc32c_with_zeroed_field(raw, 4) != header.checksum:
        return header, "CRC-32C does not match"
    return header, None


def check_headers(source, report):
    """X02-X04. Returns the current header, or None."""
    found = [_read_header(source, offset) for offset in v.HEADER_OFFSETS]
    report.facts["headers"] = [
        {"offset": h.offset, "valid": fault is None, "sequence": h.sequence,
         "log_guid_nonzero": h.log_guid != v.NIL} for h, fault in found]
    valid = [header for header, fault in found if fault is None]
    for number, (header, fault) in enumerate(found, 1):
        if fault and valid:
            report.warning("X02", header.offset, "header %d" % number,
                           fault + "; the other header serves")
        elif fault:
            report.error("X02", header.offset, "header %d" % number, fault)
    if not valid:
        return None
    current = max(valid, key=lambda header: header.sequence)
    if len(valid) == 2 and valid[0].sequence == valid[1].sequence:
        if valid[0].raw != valid[1].raw:
            report.error("X02", valid[1].offset, "headers",
                         "equal sequence numbers but different contents: neither is current")
            return None
        report.warning("X02", valid[1].offset, "headers",
                       "byte-identical headers with one sequence number (Disk2vhd writes this)")
    report.facts.update(file_write_guid=str(current.file_write),
                        data_write_guid=str(current.data_write),
                        sequence=current.sequence, current_header=current.offset)
    ok = _check_fields(source, current, report)
    for header in valid:
        if header is not current and header.version != 1:
            report.warning("X03", header.offset + 66, "non-current header",
                           "Version %d" % header.version)
    return current if ok else None


def _check_fields(source, header, report):
    name, ok = "current header", True
    if header.version != 1:
        report.error("X03", header.offset + 66, name, "Version %d, not 1" % header.version)
        ok = False
    dirty = header.log_guid != v.NIL
    if header.log_version != 0 and dirty:
        report.error("X03", header.offset + 64, name,
                     "LogVersion %d with a log to replay" % header.log_version)
        ok = False
    elif header.log_version != 0:
        report.warning("X03", header.offset + 64, name,
                       "LogVersion %d (no log to replay)" % header.log_version)
    faults = []
    if not v.aligned(header.log_offset) or not v.aligned(header.log_length):
        faults.append("LogOffset 0x%x, LogLength 0x%x: not multiples of 1 MiB"
                      % (header.log_offset, header.log_length))
    if header.log_offset < v.HEADER_SECTION:
        faults.append("LogOffset 0x%x lies in the header section" % header.log_offset)
    if header.log_offset + header.log_length > source.size:
        faults.append("log [0x%x, +0x%x) ends past the file" % (header.log_offset,
                                                               header.log_length))
    if header.log_length == 0 and dirty:
        faults.append("LogLength is zero, but there is a log to replay")
    elif header.log_length == 0:
        report.warning("X03", header.offset + 68, name, "LogLength is zero: no room for a log")
    for fault in faults:
        report.error("X03", header.offset + 68, name, fault)
    if header.sequence == (1 << 64) - 1:
        report.error("X04", header.offset + 8, name, "SequenceNumber 2^64-1: no successor")
    return ok and not faults


class RegionTable:
    """One decoded copy; `fault` says why it cannot be used."""

    def __init__(self, source, offset):
        self.offset = offset
        self.raw = source.read(offset, v.REGION_TABLE_SIZE)
        self.count = int.from_bytes(self.raw[8:12], "little")
        self.fault = self._fault()
        self.crc_valid = self.fault is None
        self.too_many = self.crc_valid and self.count > v.MAX_TABLE_ENTRIES
        if self.too_many:
            self.fault = "EntryCount %d exceeds 2047" % self.count

    def _fault(self):
        if self.raw[:4] != b"regi":
            return "signature is not 'regi'"
        if crc32c_with_zeroed_field(self.raw, 4) != int.from_bytes(self.raw[4:8], "little"):
            return "CRC-32C does not match"
        return None

    def entries(self):
        return [v.decode_region(self.raw, 16 + 32 * i, self.offset + 16 + 32 * i)
                for i in range(self.count)]


def check_regions(source, report, log_empty):
    """X05, X06. `source` shows the file after replay. Returns {guid: entry}, or None."""
    tables = [RegionTable(source, offset) for offset in v.REGION_OFFSETS]
    usable = [table for table in tables if table.fault is None]
    for number, table in enumerate(tables, 1):
        if table.fault and (table.too_many or not usable):
            report.error("X05", table.offset, "region table %d" % number, table.fault)
        elif table.fault:
            report.warning("X05", table.offset, "region table %d" % number,
                           table.fault + "; the other copy serves")
    if not usable:
        return None
    if len(usable) == 2 and tables[0].raw != tables[1].raw:
        text = "the two valid copies differ"
        if log_empty:
            report.error("X05", tables[1].offset, "region tables", text + " and the log is empty")
        else:
            report.warning("X05", tables[1].offset, "region tables", text + " after replay")
    return _check_entries(source, usable[0], report)


def _check_entries(source, table, report):
    if any(table.raw[12:16]):
        report.warning("X05", table.offset + 12, "region table", "reserved field is not zero")
    regions, ok = {}, True
    for entry in table.entries():
        name = "region " + region_name(entry.guid)
        if entry.guid in regions:
            report.error("X05", entry.place, name, "GUID listed twice")
            ok = False
            continue
        regions[entry.guid] = entry
        if entry.flags & ~1:
            report.warning("X05", entry.place + 28, name, "reserved flag bits are set")
        for fault in _region_faults(source, entry):
            report.error("X06", entry.place, name, fault)
            ok = False
    for guid in (v.BAT_REGION, v.METADATA_REGION):
        if guid not in regions:
            report.error("X06", table.offset, "region table", "no %s region" % region_name(guid))
            ok = False
    report.facts["regions"] = [
        {"guid": str(e.guid), "name": region_name(e.guid), "offset": e.offset,
         "length": e.length, "required": bool(e.flags & 1)} for e in regions.values()]
    return regions if ok else None


def _region_faults(source, entry):
    if not v.aligned(entry.offset) or not v.aligned(entry.length):
        yield "[0x%x, +0x%x): not multiples of 1 MiB" % (entry.offset, entry.length)
    if entry.offset < v.HEADER_SECTION:
        yield "offset 0x%x lies in the header section" % entry.offset
    if entry.length == 0:
        yield "length is zero"
    if entry.offset + entry.length > source.size:
        yield "[0x%x, +0x%x) ends past the file (%d bytes)" % (entry.offset, entry.length,
                                                               source.size)
    if entry.flags & 1 and entry.guid not in (v.BAT_REGION, v.METADATA_REGION):
        yield "required but unknown"


def region_name(guid):
    return {v.BAT_REGION: "BAT", v.METADATA_REGION: "metadata"}.get(guid, str(guid))
