"""Violations of L01-L08 and L10, and of X19 and C07 (pairs of states)."""
import struct
import uuid

from . import bases, log_writer
from .bases import LOG_ID, Case
from .damage import Violation, entry, header, item, raw, step
from .vhdx_writer import FULL, MIB, fixed_guid

OTHER_LOG = fixed_guid(78)
SECTOR = 4096


def dirty(entries=None, **wrong):
    """A base with a log; `wrong` damages its head entry."""
    return lambda: Case(bases.vhdx_dirty(entries=entries, **wrong))


def single(sequence=6, tail=0, operations=None, **wrong):
    """A base whose log is one entry at ring position 0."""
    def base():
        image = bases.vhdx_dirty(entries=[])
        wanted = operations(image) if operations else [
            ("data", image.bat_offset, image.clean_page)]
        size = image.file.size
        extra = dict(wrong)
        flushed = extra.pop("flushed", lambda end: end)(size)
        last = extra.pop("last", lambda end: end)(size)
        log_writer.put(image, 0, log_writer.encode(LOG_ID, sequence, tail, wanted, flushed, last,
                                                   **extra))
        return Case(image)
    return base


def patched(offset, form, value):
    """A single entry with one header field changed and its checksum repaired."""
    def base():
        case = single()()
        image = case.target
        whole = bytearray(image.file.read(image.log_offset, 2 * SECTOR))
        struct.pack_into(form, whole, offset, value)
        log_writer.put(image, 0, log_writer.checksummed(bytes(whole)))
        return case
    return base


def descriptor(offset, form, value):
    """A function that changes one field of a descriptor."""
    def change(old):
        new = bytearray(old)
        struct.pack_into(form, new, offset, value)
        return bytes(new)
    return change


def target(*operation):
    """A single entry with these operations, given as functions of the image."""
    return single(operations=lambda image: [make(image) for make in operation])


def page(offset):
    return lambda image: ("data", offset, bytes(SECTOR))


def zero(offset, length):
    return lambda image: ("zero", offset, length)


def gap():
    """Entries 5 and 7 side by side; the head's tail names 5, which is no member of its run."""
    image = bases.vhdx_dirty(entries=[])
    size, operations = image.file.size, [("data", image.bat_offset, image.clean_page)]
    broken = log_writer.encode(LOG_ID, 5, 4 * SECTOR, operations, size, size)
    after = log_writer.put(image, 0, broken)
    log_writer.put(image, after, log_writer.encode(LOG_ID, 7, 0, operations, size, size))
    return Case(image)


def replayed_page(change):
    """A single entry that writes a changed copy of the BAT page."""
    def operations(image):
        new = bytearray(image.clean_page)
        change(new)
        return [("data", image.bat_offset, bytes(new))]
    return single(operations=operations)


def set_entry(index, value):
    """Changes an entry inside a BAT page."""
    return lambda raw_page: struct.pack_into("<Q", raw_page, 8 * index, value)


ENTRIES = (
    Violation("l01-log-empty", "L01", dirty(entries=[])),
    Violation("l01-other-guid", "L01", single(), header(48, "<16s", OTHER_LOG.bytes_le)),
    Violation("l01-signature", "L01", single(signature=b"LOGE")),
    Violation("l02-checksum", "L02 L01", single(), raw(MIB + SECTOR + 100, b"?")),
    Violation("l02-length-unaligned", "L02", single(length=2 * SECTOR + 8)),
    Violation("l02-length-zero", "L02", single(length=0)),
    Violation("l02-length-exceeds-log", "L02", single(length=2 * MIB)),
    Violation("l02-tail-unaligned", "L02", single(tail=8)),
    Violation("l02-tail-outside", "L02", single(tail=MIB)),
    Violation("l02-sequence-zero", "L02", single(sequence=0)),
    Violation("l03-tail-no-entry", "L03 L01", single(tail=16 * SECTOR)),
    Violation("l03-tail-across-gap", "L03 L01", gap),
    Violation("l03-tail-inside-entry", "L03 L01", single(tail=SECTOR)),
    Violation("l04-count-too-large", "L04", single(count=4000)),
    Violation("l04-count-huge", "L04", single(count=0xFFFFFFFF)),
    Violation("l04-data-past-entry", "L04", single(length=SECTOR)),
    Violation("l04-descriptor-signature", "L04", single(descriptor=descriptor(0, "<4s", b"DESC"))),
    Violation("l04-descriptor-sequence", "L04", single(descriptor=descriptor(24, "<Q", 7))),
    Violation("l04-data-signature", "L04", single(data=descriptor(0, "<4s", b"DATA"))),
    Violation("l04-data-sequence-high", "L04", single(data=descriptor(4, "<I", 1))),
    Violation("l04-data-sequence-low", "L04", single(data=descriptor(4092, "<I", 5))),
    Violation("l05-offset-unaligned", "L05",
              single(descriptor=descriptor(16, "<Q", 2 * MIB + 512))),
    Violation("l05-zero-length-unaligned", "L05", target(zero(2 * MIB, 512))),
    Violation("l05-zero-overflows", "L05", target(zero((1 << 64) - SECTOR, 2 * SECTOR))),
    Violation("l05-into-identifier", "L05", target(page(0))),
    Violation("l05-into-header", "L05", target(page(64 << 10))),
    Violation("l05-zero-over-header", "L05", target(zero(128 << 10, 128 << 10))),
    Violation("l05-into-log", "L05", target(page(MIB + 64 * SECTOR))),
    Violation("l05-zero-over-log", "L05", target(zero(512 << 10, MIB))),
    Violation("l05-past-last-offset", "L05", target(page(64 * MIB))),
    Violation("l05-payload-logged", "L05", single(operations=lambda image: [
        ("data", image.bat_offset, image.clean_page), ("data", 4 * MIB, bytes(SECTOR))]),
        severity="warning"),
    Violation("l06-flushed-past-end", "L06", single(flushed=lambda end: end + MIB,
                                                    last=lambda end: end + MIB)),
    Violation("l06-file-cut", "L06", single(), step(
        lambda image: image.file.truncate(image.file.size - MIB))),
    Violation("l06-last-offset-absurd", "L06", single(last=lambda end: 1 << 63)),
    Violation("l06-last-offset-unaligned", "L06", single(last=lambda end: end + 512),
              severity="warning"),
    Violation("l10-replay-gives-reserved-state", "L10 X12", replayed_page(set_entry(1, 5))),
    Violation("l10-replay-shares-a-block", "L10 X14", replayed_page(set_entry(5, 4 * MIB | FULL))),
    Violation("l10-replay-wipes-metadata", "L10 X08", target(zero(3 * MIB, 64 << 10))),
    Violation("l10-replay-breaks-regions", "L10 X05", target(zero(192 << 10, 128 << 10))),
)


def states(base, *changes):
    """A Case whose `before` is the undamaged base, and whose target has the changes."""
    def build():
        case = base()
        case.before = case.target.file.copy()
        for change in changes:
            change(case)
        return case
    return build


def clean():
    return Case(bases.vhdx_dynamic())


def new_guids(file_write=True, data_write=False, sequence=10):
    """What an honest writer does first."""
    def change(case):
        image = case.target
        if file_write:
            image.file_write = fixed_guid(201)
        if data_write:
            image.data_write = fixed_guid(202)
        image.sequence = sequence
        image.write_headers()
    return change


def change_data(case):
    """One guest-visible byte."""
    case.target.file.flip(case.target.block_place(0) + 5000)


def change_metadata(case):
    """Reserved tail of the metadata region: invisible to the guest."""
    case.target.file.write(case.target.metadata_offset + 900000, b"moved")


def clear_log(apply=None):
    """Ends the log, after applying `apply(image)`."""
    def change(case):
        image = case.target
        if apply:
            apply(image)
        image.log_guid = uuid.UUID(int=0)
        image.file_write = fixed_guid(203)
        image.sequence += 2
        image.write_headers()
    return change


def plain_table(image):
    """A table without what the log's own zero descriptor or data says."""
    image.file.write(image.bat_offset, image.clean_page)
    image.file.pack(image.bat_place(1), "<Q", 2)


def shrink(case):
    """Cuts the last block and a half of the disk, with an honest change of ids."""
    case.target.size = 11 * MIB
    item("size", "<Q", 11 * MIB)(case)
    entry(11, 0)(case)
    new_guids(data_write=True)(case)


STATES = (
    Violation("x19-file-guid-kept", "X19", states(clean, new_guids(False, True), change_data)),
    Violation("x19-file-guid-kept-metadata", "X19", states(clean, change_metadata)),
    Violation("x19-data-guid-kept", "X19", states(clean, new_guids(), change_data)),
    Violation("x19-sequence-went-back", "X19", states(clean, new_guids(sequence=4))),
    Violation("x19-data-guid-changed-for-nothing", "X19",
              states(clean, new_guids(data_write=True), change_metadata), severity="warning"),
    Violation("l07-replay-differs", "L07", states(dirty(), clear_log(plain_table))),
    Violation("l07-replay-forgets-zeroes", "L07", states(
        single(operations=lambda image: [("data", image.bat_offset, image.clean_page),
                                         ("zero", 3 * MIB + 512 * 1024, 8192)]),
        clear_log(lambda image: (image.file.write(image.bat_offset, image.clean_page),
                                 image.file.write(3 * MIB + 512 * 1024, b"stale"))))),
    Violation("l07-replay-forgets-to-extend", "L07", states(
        single(last=lambda end: end + MIB),
        clear_log(lambda image: image.file.write(image.bat_offset, image.clean_page)))),
    Violation("l08-cleared-before-apply", "L08", states(
        dirty(), clear_log(lambda image: image.file.write(image.bat_offset, bytes(4096))))),
    Violation("l08-cleared-before-extension", "L08 L07", states(
        single(last=lambda end: end + MIB, operations=lambda image: [
            ("data", image.bat_offset, image.clean_page), ("zero", image.file.size, MIB)]),
        clear_log(lambda image: image.file.write(image.bat_offset, image.clean_page)))),
    Violation("c07-shrink-loses-data", "C07", states(clean, shrink)),
    Violation("c07-shrink-loses-half-a-block", "C07", states(clean, lambda case: (
        item("size", "<Q", 512)(case), new_guids(data_write=True)(case),
        [entry(block, 0)(case) for block in range(1, 12)]))),
)

ALL = ENTRIES + STATES
