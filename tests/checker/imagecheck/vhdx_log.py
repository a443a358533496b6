"""The VHDX log: entries, the active sequence, and replay into memory (L01-L06)."""
import struct
from collections import namedtuple

from .crc32c import Crc32c
from .source import ReplayOverlay
from . import vhdx_layout as v

SECTOR = v.LOG_SECTOR
_HEADER = struct.Struct("<4sIIIQII16sQQ")
_FIRST_DESCRIPTORS = 126
_SECTOR_DESCRIPTORS = 128
MAX_FAULTS_REPORTED = 16

Fault = namedtuple("Fault", "rule offset sequence text")


class Entry:
    """One valid log entry; places are log offsets (wrapping) and descriptors."""

    __slots__ = ("position", "length", "tail", "sequence", "flushed", "last", "operations")


class Ring:
    """The log region as a ring of 4 KiB sectors."""

    def __init__(self, source, header):
        self.source = source
        self.offset = header.log_offset
        self.length = header.log_length
        self.guid = header.log_guid.bytes_le
        # Entries of a sane log never overlap, so checksumming it twice over is already generous;
        # a forged one that makes every position an entry must not cost the square of its length.
        self.budget = 2 * header.log_length + v.MIB

    def place(self, position):
        """File offset of a ring position."""
        return self.offset + position % self.length

    def sector(self, position):
        return self.source.read(self.place(position), SECTOR)


def _evaluate(ring, position):
    """The valid Entry at `position`, a Fault, or None where there is no entry of this log."""
    raw = ring.sector(position)
    if raw[:4] != b"loge":
        return None
    (_, checksum, length, tail, sequence, count, _, guid, flushed, last) = _HEADER.unpack_from(raw)
    if guid != ring.guid:
        return None

    def fault(rule, text):
        return Fault(rule, ring.place(position), sequence, text)

    if sequence == 0:
        return fault("L02", "SequenceNumber is zero")
    if length % SECTOR or not SECTOR <= length <= ring.length:
        return fault("L02", "EntryLength %d: not a multiple of 4 KiB within the log" % length)
    if tail % SECTOR or tail >= ring.length:
        return fault("L02", "Tail 0x%x: not a multiple of 4 KiB inside the log" % tail)
    directory = 1
    if count > _FIRST_DESCRIPTORS:
        directory += -(-(count - _FIRST_DESCRIPTORS) // _SECTOR_DESCRIPTORS)
    if directory * SECTOR > length:
        return fault("L04", "DescriptorCount %d does not fit EntryLength %d" % (count, length))
    entry = Entry()
    entry.position, entry.length, entry.tail = position, length, tail
    entry.sequence, entry.flushed, entry.last = sequence, flushed, last
    problem = _read_descriptors(ring, entry, raw, count, directory)
    if problem:
        return fault(*problem)
    ring.budget -= length
    if ring.budget < 0:
        return fault("L03", "entries overlap so much that the scan was cut short")
    if _checksum(ring, position, length) != checksum:
        return fault("L02", "CRC-32C over the entry does not match")
    return entry


def _checksum(ring, position, length):
    first = ring.sector(position)
    crc = Crc32c().update(first[:4] + bytes(4) + first[8:])
    for step in range(SECTOR, length, SECTOR):
        crc.update(ring.sector(position + step))
    return crc.value()


def _read_descriptors(ring, entry, first, count, directory):
    """Fills entry.operations; returns (rule, text) of the first thing wrong."""
    data_position = entry.position + directory * SECTOR
    end = entry.position + entry.length
    entry.operations = []
    sector, base, in_sector = first, 64, _FIRST_DESCRIPTORS
    position = entry.position
    index = 0
    while index < count:
        for slot in range(min(in_sector, count - index)):
            raw = sector[base + 32 * slot:base + 32 * slot + 32]
            operation, problem = _decode(ring, entry, raw, data_position, end)
            if problem:
                return problem[0], "descriptor %d: %s" % (index + slot, problem[1])
            entry.operations.append(operation)
            if operation[0] == "data":
                data_position += SECTOR
        index += min(in_sector, count - index)
        if index < count:
            position += SECTOR
            sector, base, in_sector = ring.sector(position), 0, _SECTOR_DESCRIPTORS
    return None


def _decode(ring, entry, raw, data_position, end):
    """(operation, None) or (None, (rule, text)) for one 32-byte descriptor."""
    kind = raw[:4]
    trailing, leading, offset, sequence = struct.unpack_from("<4s8sQQ", raw, 4)
    if kind not in (b"zero", b"desc"):
        return None, ("L04", "signature %r" % kind)
    if sequence != entry.sequence:
        return None, ("L04", "SequenceNumber %d, entry has %d" % (sequence, entry.sequence))
    if offset % SECTOR:
        return None, ("L05", "FileOffset 0x%x is not a multiple of 4 KiB" % offset)
    if kind == b"zero":
        length = int.from_bytes(leading, "little")
        if length % SECTOR or length == 0:
            return None, ("L05", "ZeroLength 0x%x is not a positive multiple of 4 KiB" % length)
        if offset + length >= 1 << 64:
            return None, ("L05", "[0x%x, +0x%x) overflows" % (offset, length))
        return ("zero", offset, length), None
    if data_position + SECTOR > end:
        return None, ("L04", "its data sector lies past EntryLength")
    sector = ring.sector(data_position)
    low, high = sequence & 0xFFFFFFFF, sequence >> 32
    if sector[:4] != b"data":
        return None, ("L04", "its data sector has signature %r" % sector[:4])
    if (int.from_bytes(sector[4:8], "little"), int.from_bytes(sector[-4:], "little")) != (high,
                                                                                          low):
        return None, ("L04", "its data sector carries another sequence number (torn)")
    return ("data", offset, ring.place(data_position), leading, trailing), None


def scan(ring):
    """({position: Entry}, [Fault]) for every 4 KiB position of the ring."""
    entries, faults = {}, []
    position = 0
    while position < ring.length:
        skip = ring.source.next_data(ring.offset + position, ring.offset + ring.length)
        position = (skip - ring.offset) // SECTOR * SECTOR
        if position >= ring.length:
            break
        result = _evaluate(ring, position)
        if isinstance(result, Entry):
            entries[position] = result
        elif result is not None:
            faults.append(result)
        position += SECTOR
    return entries, faults


def active_sequence(ring, entries):
    """([Entry from tail to head], [Fault]): the newest run whose head's tail lies in the run.

    Every entry has at most one successor (the position behind it, sequence + 1), so a run ends in
    exactly one head, and a run is valid if walking from its head's tail arrives at that head.
    """
    def successor(entry):
        following = entries.get((entry.position + entry.length) % ring.length)
        if following is not None and following.sequence == entry.sequence + 1:
            return following
        return None

    head_of = {}
    for entry in sorted(entries.values(), key=lambda e: e.sequence, reverse=True):
        following = successor(entry)
        head_of[entry.position] = entry if following is None else head_of[following.position]
    faults = []
    heads = sorted({e.position: e for e in head_of.values()}.values(),
                   key=lambda e: e.sequence, reverse=True)
    for head in heads:
        if head_of.get(head.tail) is not head:
            faults.append(Fault("L03", ring.place(head.position), head.sequence,
                                "Tail 0x%x is no member of the run that ends here" % head.tail))
            continue
        run = [entries[head.tail]]
        while run[-1] is not head:
            run.append(successor(run[-1]))
        if sum(entry.length for entry in run) > ring.length:
            faults.append(Fault("L03", ring.place(head.position), head.sequence,
                                "the run is longer than the log"))
            continue
        return run, faults
    return [], faults


def replay(source, header, report):
    """The file after replay of its log (L01-L06); the source itself when the log is empty.

    Returns (view, run), or (None, []) when the log is corrupt and nothing may be served.
    """
    facts = {"dirty": header.log_guid != v.NIL, "guid": str(header.log_guid),
             "offset": header.log_offset, "length": header.log_length}
    report.facts["log"] = facts
    if not facts["dirty"]:
        return source, []
    ring = Ring(source, header)
    entries, faults = scan(ring)
    run, sequence_faults = active_sequence(ring, entries)
    _report_faults(faults + sequence_faults, run, report)
    facts["valid_entries"] = len(entries)
    if not run:
        report.error("L01", header.offset + 48, "log",
                     "LogGuid is set but no valid active sequence exists")
        return None, []
    head = run[-1]
    facts.update(tail_sequence=run[0].sequence, head_sequence=head.sequence,
                 replay_entries=len(run), flushed_file_offset=head.flushed,
                 last_file_offset=head.last,
                 replay_descriptors=sum(len(entry.operations) for entry in run))
    if not _check_targets(source, header, ring, run, report):
        return None, []
    operations = [operation for entry in run for operation in entry.operations]
    end = max([head.last] + [_end(operation) for operation in operations])
    return ReplayOverlay(source, operations, end), run


def _end(operation):
    return operation[1] + (SECTOR if operation[0] == "data" else operation[2])


def _report_faults(faults, run, report):
    """Damage explains a log that cannot be replayed; beside a valid run it is a torn write."""
    head = run[-1].sequence if run else 0
    shown = [fault for fault in faults if fault.sequence > head or not run]
    shown.sort(key=lambda fault: fault.sequence, reverse=True)
    for fault in shown[:MAX_FAULTS_REPORTED]:
        text = "entry %d: %s" % (fault.sequence, fault.text)
        if run:
            report.note(fault.rule, fault.offset, "log entry", text + " (not part of the log)")
        else:
            report.error(fault.rule, fault.offset, "log entry", text)


def _check_targets(source, header, ring, run, report):
    """L05, L06. Returns whether the run may be replayed."""
    before = report.error_count()
    head = run[-1]
    place = ring.place(head.position)
    if head.flushed > source.size:
        report.error("L06", place + 48, "log entry",
                     "FlushedFileOffset %d exceeds the file (%d bytes): truncated"
                     % (head.flushed, source.size))
    for name, value in (("FlushedFileOffset", head.flushed), ("LastFileOffset", head.last)):
        if value % v.MIB:
            report.warning("L06", place + 48, "log entry", "%s %d is not a multiple of 1 MiB"
                           % (name, value))
    if head.last >= 1 << 63:
        report.error("L06", place + 56, "log entry", "LastFileOffset 0x%x" % head.last)
    log_end = header.log_offset + header.log_length
    for entry in run:
        for index, operation in enumerate(entry.operations):
            start, end = operation[1], _end(operation)
            fault = None
            if start < v.REGION_OFFSETS[0]:
                fault = "reaches the file identifier or the headers"
            elif start < log_end and header.log_offset < end:
                fault = "reaches the log itself"
            elif end > head.last:
                fault = "ends past LastFileOffset 0x%x" % head.last
            if fault:
                report.error("L05", ring.place(entry.position), "log entry",
                             "entry %d descriptor %d: target [0x%x, 0x%x) %s"
                             % (entry.sequence, index, start, end, fault))
    return report.error_count() == before
