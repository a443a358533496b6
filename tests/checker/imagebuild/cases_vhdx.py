"""Violations of X01-X18."""
import struct

from . import bases
from .bases import Case
from .damage import (BOTH, OTHER, Violation, add_items, bitmap_entry, cut, drop_item, entry, flip,
                     grow, header, item, item_entry, locator, raw, region, regions, step)
from .vhdx_writer import FULL, KIB, MIB, UNMAPPED, ZERO, fixed_guid

GIB, TIB = 1 << 30, 1 << 40
NOBODY = fixed_guid(900)


def disk():
    return Case(bases.vhdx_dynamic())


def fixed():
    return Case(bases.vhdx_fixed())


def wide():
    return Case(bases.vhdx_wide())


def child():
    return bases.vhdx_chain()


def place_of(block):
    """The offset part of another block's entry."""
    return lambda image, old: (old & 7) | image.block_place(block)


def warning(name, ids, base, *damage):
    return Violation(name, ids, base, *damage, severity="warning")


def region_field(index, offset, form, value):
    """A field of region entry `index` (0 BAT, 1 metadata)."""
    return region(16 + 32 * index + offset, form, value)


HEADERS = (
    Violation("x01-signature", "X01", disk, raw(0, b"vhdxfilE")),
    Violation("x01-signature-zeroed", "X01", disk, raw(0, bytes(8))),
    Violation("x01-shorter-than-header-section", "X01", disk, cut(MIB - 4096)),
    Violation("x02-both-checksums", "X02", disk, flip(64 * KIB + 200), flip(128 * KIB + 200)),
    Violation("x02-both-signatures", "X02", disk, header(0, "<4s", b"HEAD", BOTH)),
    Violation("x02-equal-sequence-different-contents", "X02", disk, header(8, "<Q", 8, OTHER),
              header(8, "<Q", 8), header(16, "<Q", 99, OTHER)),
    warning("x02-one-checksum", "X02", disk, flip(64 * KIB + 200)),
    warning("x02-identical-headers", "X02", disk, header(8, "<Q", 9, BOTH)),
    Violation("x03-version-2", "X03", disk, header(66, "<H", 2)),
    Violation("x03-version-0", "X03", disk, header(66, "<H", 0, BOTH)),
    Violation("x03-log-version-dirty", "X03", lambda: Case(bases.vhdx_dirty()),
              header(64, "<H", 1)),
    warning("x03-log-version-clean", "X03", disk, header(64, "<H", 1)),
    Violation("x03-log-offset-unaligned", "X03", disk, header(72, "<Q", MIB + 4096)),
    Violation("x03-log-length-unaligned", "X03", disk, header(68, "<I", MIB - 4096)),
    Violation("x03-log-in-header-section", "X03", disk, header(72, "<Q", 0)),
    Violation("x03-log-past-end", "X03", disk, header(72, "<Q", 512 * MIB)),
    Violation("x03-log-overflows", "X03", disk, header(72, "<Q", (1 << 64) - MIB)),
    Violation("x03-no-log-but-dirty", "X03", lambda: Case(bases.vhdx_dirty()),
              header(68, "<I", 0)),
    warning("x03-no-log", "X03", disk, header(68, "<I", 0)),
    Violation("x04-last-sequence", "X04", disk, header(8, "<Q", (1 << 64) - 1)),
    Violation("x04-last-sequence-dirty", "X04", lambda: Case(bases.vhdx_dirty()),
              header(8, "<Q", (1 << 64) - 1)),
)

REGIONS = (
    Violation("x05-both-checksums", "X05", disk, flip(192 * KIB + 20), flip(256 * KIB + 20)),
    Violation("x05-both-signatures", "X05", disk, region(0, "<4s", b"REGI")),
    warning("x05-one-checksum", "X05", disk, flip(192 * KIB + 20)),
    Violation("x05-count-2048", "X05", disk, region(8, "<I", 2048)),
    Violation("x05-count-huge-in-one", "X05", disk, region(8, "<I", 0xFFFFFFFF, (1,))),
    Violation("x05-guid-twice", "X05", disk, regions(lambda image, usual: usual + [usual[0]])),
    Violation("x05-copies-differ", "X05", disk, region(16 + 28, "<I", 0, (1,))),
    warning("x05-reserved-field", "X05", disk, region(12, "<I", 1)),
    warning("x05-reserved-flags", "X05", disk, region(16 + 28, "<I", 3)),
    Violation("x06-offset-unaligned", "X06", disk, region_field(0, 16, "<Q", 2 * MIB + 4096)),
    Violation("x06-length-unaligned", "X06", disk, region_field(1, 24, "<I", MIB - 4096)),
    Violation("x06-length-zero", "X06", disk, region_field(0, 24, "<I", 0)),
    Violation("x06-offset-zero", "X06", disk, region_field(1, 16, "<Q", 0)),
    Violation("x06-past-end", "X06", disk, region_field(0, 16, "<Q", GIB)),
    Violation("x06-overflow", "X06", disk, region_field(0, 16, "<Q", (1 << 64) - MIB)),
    Violation("x06-no-bat", "X06", disk, regions(lambda image, usual: usual[1:])),
    Violation("x06-no-metadata", "X06", disk, regions(lambda image, usual: usual[:1])),
    Violation("x06-unknown-required", "X06", disk, grow(MIB),
              regions(lambda image, usual: usual + [(NOBODY, image.file.size - MIB, MIB, 1)])),
    Violation("x07-bat-on-metadata", "X07", disk, region_field(0, 16, "<Q", 3 * MIB)),
    Violation("x07-log-on-bat", "X07", disk, header(72, "<Q", 2 * MIB)),
    Violation("x07-unknown-region-on-block", "X07", disk,
              regions(lambda image, usual: usual + [(NOBODY, image.block_place(0), MIB, 0)])),
    Violation("x07-block-on-metadata", "X07", disk, entry(0, 3 * MIB | FULL)),
    Violation("x07-block-on-log", "X07", disk, entry(5, MIB | FULL)),
    Violation("x07-block-on-header-section", "X07", disk, entry(5, FULL)),
    Violation("x07-bitmap-on-block", "X07 X14", child,
              bitmap_entry(0, lambda image, old: image.block_place(2) | 6)),
)

METADATA = (
    Violation("x08-signature", "X08", disk, raw(3 * MIB, b"METADATA")),
    Violation("x08-count-2048", "X08", disk, raw(3 * MIB + 10, b"\x00\x08")),
    Violation("x08-1025-user-items", "X08", disk,
              add_items([(fixed_guid(1000 + n), 0, 0, 1) for n in range(1025)])),
    Violation("x08-offset-in-table", "X08", disk, item_entry("size", 16, "<I", 4096)),
    Violation("x08-past-region", "X08", disk, item_entry("size", 16, "<I", MIB - 4)),
    Violation("x08-offset-overflows-32-bits", "X08", disk,
              item_entry("size", 16, "<I", 0xFFFFFFFC)),
    Violation("x08-item-too-long", "X08", disk, item_entry("page83", 20, "<I", MIB + 1)),
    Violation("x08-items-overlap", "X08", disk, item_entry("size", 16, "<I", 64 * KIB + 4)),
    Violation("x08-item-twice", "X08", disk, add_items([(NOBODY, 0, 0, 0), (NOBODY, 0, 0, 0)])),
    Violation("x08-empty-item-with-offset", "X08", disk, add_items([(NOBODY, 70 * KIB, 0, 1)])),
    warning("x08-reserved-bits", "X08", disk, item_entry("size", 28, "<I", 5)),
    Violation("x09-no-page83", "X09", disk, drop_item("page83")),
    Violation("x09-no-parameters", "X09", disk, drop_item("params")),
    Violation("x09-no-logical-sector", "X09", disk, drop_item("logical")),
    Violation("x09-wrong-length", "X09", disk, item_entry("logical", 20, "<I", 3)),
    Violation("x09-empty-required", "X09", disk, item_entry("size", 16, "<Q", 0)),
    Violation("x09-unknown-required", "X09", disk, add_items([(NOBODY, 0, 0, 4)])),
    Violation("x09-unknown-required-user", "X09", disk, add_items([(NOBODY, 0, 0, 5)])),
    warning("x09-flags", "X09", disk, item_entry("physical", 24, "<I", 2)),
    warning("x09-parameter-bits", "X09", disk, item("params", "<I", 8, 4)),
    Violation("x10-block-size-zero", "X10", disk, item("params", "<I", 0)),
    Violation("x10-block-size-512k", "X10", disk, item("params", "<I", 512 * KIB)),
    Violation("x10-block-size-3m", "X10", disk, item("params", "<I", 3 * MIB)),
    Violation("x10-block-size-512m", "X10", disk, item("params", "<I", 512 * MIB)),
    Violation("x10-logical-1024", "X10", disk, item("logical", "<I", 1024)),
    Violation("x10-physical-zero", "X10", disk, item("physical", "<I", 0)),
    Violation("x10-size-zero", "X10", disk, item("size", "<Q", 0)),
    Violation("x10-size-unaligned", "X10", disk, item("size", "<Q", 12 * MIB + 1)),
    Violation("x10-size-unaligned-4k", "X10", fixed, item("size", "<Q", 8 * MIB - 512)),
    Violation("x10-size-over-64t", "X10", disk, item("size", "<Q", 64 * TIB + 512)),
    Violation("x10-size-huge", "X10", disk, item("size", "<Q", 1 << 63)),
    Violation("x11-table-one-entry-short", "X11", disk,
              item("size", "<Q", (MIB // 8 - 31) * MIB + 512)),
    Violation("x11-table-far-too-short", "X11", disk, item("size", "<Q", 64 * TIB)),
    Violation("x11-table-short-for-bitmaps", "X11", child,
              item("size", "<Q", 31 * 4096 * MIB + 3968 * MIB)),
)

TABLE = (
    Violation("x12-state-4", "X12", disk, entry(1, 4)),
    Violation("x12-state-5", "X12", disk, entry(0, lambda image, old: (old & ~7) | 5)),
    Violation("x12-partial-without-parent", "X12", disk, entry(5, lambda image, old: old | 7)),
    Violation("x12-reserved-bits", "X12", disk, entry(0, lambda image, old: old | 1 << 19)),
    Violation("x12-reserved-bits-absent", "X12", disk, entry(1, 1 << 3)),
    Violation("x12-bitmap-state-7", "X12", child, bitmap_entry(0, lambda image, old: old | 7)),
    Violation("x12-bitmap-state-2", "X12", wide, bitmap_entry(0, 2)),
    Violation("x12-bitmap-reserved-bits", "X12", child,
              bitmap_entry(0, lambda image, old: old | 1 << 10)),
    warning("x12-bitmap-in-dynamic", "X12", wide, grow(MIB),
            bitmap_entry(0, lambda image, old: image.file.size - MIB | 6)),
    warning("x12-unused-entry", "X12", disk, entry(40, 6)),
    warning("x12-padding-entry", "X12", child, entry(12, 2)),
    Violation("x13-present-at-zero", "X13", disk, entry(0, FULL)),
    Violation("x13-just-past-end", "X13", disk,
              entry(5, lambda image, old: image.file.size | FULL)),
    Violation("x13-far-past-end", "X13", disk, entry(0, ((1 << 44) - 1) << 20 | FULL)),
    Violation("x13-bitmap-past-end", "X13", child, bitmap_entry(0, 1 << 40 | 6)),
    Violation("x13-anchor-shared", "X13 X14", disk, entry(6, place_of(0))),
    Violation("x13-anchor-on-metadata", "X13 X07", disk, entry(6, 3 * MIB | UNMAPPED)),
    warning("x13-zero-with-offset", "X13", disk,
            entry(6, lambda image, old: (old & ~7) | ZERO)),
    warning("x13-absent-with-offset", "X13", disk, entry(6, lambda image, old: old & ~7)),
    warning("x13-anchor-past-end", "X13", disk, entry(6, 1 << 40 | UNMAPPED)),
    Violation("x14-two-blocks-one-place", "X14 X07", disk, entry(5, place_of(0))),
    Violation("x14-blocks-overlap-by-half", "X14", fixed,
              entry(0, lambda image, old: old - MIB)),
    Violation("x14-bitmap-is-a-block", "X14", child,
              entry(2, lambda image, old: image.file.unpack(image.bitmap_place(0), "<Q"))),
    Violation("x15-bitmap-absent", "X15", child, bitmap_entry(0, 0)),
    Violation("x15-partial-where-no-chunk-has-bitmaps", "X15", child,
              bitmap_entry(0, lambda image, old: old & ~7)),
    Violation("x15-bits-past-the-disk", "X15", child,
              step(lambda image: set_bits(image, image.size // 512))),
    Violation("x15-bits-far-past-the-disk", "X15", child,
              step(lambda image: set_bits(image, (1 << 23) - 1))),
    warning("x16-zero-block", "X16", fixed, entry(2, ZERO)),
    warning("x16-absent-block", "X16", fixed, entry(3, 0)),
    warning("x16-unmapped-block", "X16", fixed,
            entry(1, lambda image, old: (old & ~7) | UNMAPPED)),
    Violation("x18-cut-in-block", "X18 X13", disk, cut(-MIB // 2)),
    Violation("x18-cut-at-block", "X18 X13", disk, cut(-MIB)),
    warning("x18-unaligned-end", "X18", disk, grow(512)),
    warning("x18-last-block-short", "X18 X13", disk, cut(-1024)),
)


def set_bits(image, sector):
    """Sets one bit in the bitmap block of chunk 0."""
    place = image.file.unpack(image.bitmap_place(0), "<Q") >> 20 << 20
    byte = image.file.read(place + sector // 8, 1)[0]
    image.file.write(place + sector // 8, bytes([byte | 1 << sector % 8]))


def without(key):
    return lambda pairs: [pair for pair in pairs if pair[0] != key]


def replaced(key, value):
    return lambda pairs: [(k, value if k == key else v) for k, v in pairs]


def locator_field(offset, form, value):
    """A field of the packed locator item."""
    return item("locator", form, value, offset)


def clear_parent(case):
    """HasParent off, the locator stays."""
    case.target.file.pack(case.target.item_place("params") + 4, "<I", 0)


LOCATOR = (
    Violation("x17-no-locator", "X17", disk, item("params", "<I", 2, 4)),
    Violation("x17-locator-without-parent", "X17", child, clear_parent),
    Violation("x17-unknown-type", "X17", child, locator(list, kind=NOBODY)),
    Violation("x17-no-linkage", "X17", child, locator(without("parent_linkage"))),
    Violation("x17-linkage-no-guid", "X17", child, locator(replaced("parent_linkage", "{1234}"))),
    Violation("x17-linkage-no-braces", "X17", child,
              locator(replaced("parent_linkage", str(fixed_guid(2))))),
    Violation("x17-linkage2-no-guid", "X17", child,
              locator(lambda pairs: pairs + [("parent_linkage2", "{none}")])),
    Violation("x17-no-path", "X17", child, locator(lambda pairs: pairs[:1])),
    Violation("x17-key-twice", "X17", child, locator(lambda pairs: pairs + pairs[1:2])),
    Violation("x17-value-past-item", "X17", child, locator_field(20 + 4, "<I", 1 << 20)),
    Violation("x17-key-length-odd", "X17", child, locator_field(20 + 8, "<H", 27)),
    Violation("x17-key-length-zero", "X17", child, locator_field(20 + 8, "<H", 0)),
    Violation("x17-count-65535", "X17", child, locator_field(18, "<H", 65535)),
    Violation("x17-bad-utf16", "X17", child,
              locator(replaced("relative_path", struct.pack("<HH", 0x2E, 0xD800)))),
    Violation("x17-nul-in-path", "X17", child,
              locator(replaced("relative_path", ".\\parent.vhdx\0.txt"))),
    Violation("x17-item-too-short", "X17", child, item_entry("locator", 20, "<I", 12)),
    Violation("x17-entry-in-header", "X17", child, locator_field(20, "<I", 4)),
)

ALL = HEADERS + REGIONS + METADATA + TABLE + LOCATOR
