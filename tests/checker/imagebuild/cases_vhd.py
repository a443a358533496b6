"""Violations of V01-V08."""
from . import bases
from .bases import Case
from .damage import Violation, cut, dynamic, flip, footer, step, vhd_entry
from .vhd_writer import MIB

GIB = 1 << 30


def fixed():
    return Case(bases.vhd_fixed())


def disk():
    return Case(bases.vhd_dynamic())


def small():
    return Case(bases.vhd_small_blocks())


def child(**fields):
    def build():
        parent = bases.vhd_dynamic("parent.vhd")
        return Case(bases.vhd_child(parent, **fields), parent)
    return build


def small_child():
    parent = bases.vhd_small_blocks("parent.vhd")
    return Case(bases.vhd_child(parent), parent)


def warning(name, ids, base, *damage):
    return Violation(name, ids, base, *damage, severity="warning")


def wipe_last(image):
    """The footer at the end is gone, as while it moves."""
    image.file.zero(image.footer_place, 512)


def set_bit(block, bit):
    """Sets one bit of a block's bitmap."""
    def change(image):
        place = image.block_place(block) + bit // 8
        image.file.write(place, bytes([image.file.read(place, 1)[0] | 0x80 >> bit % 8]))
    return step(change)


def cut_last_block(image):
    """The file ends where the disk does, as some writers leave it, and the footer follows."""
    footer_bytes = image.file.read(image.footer_place, 512)
    image.file.truncate(image.block_place(3) + 512 + MIB)
    image.file.write(image.file.size, footer_bytes)


def locator_field(index, offset, form, value):
    """A field of locator entry `index`."""
    return dynamic(576 + 24 * index + offset, form, value)


def interrupted_growth(image):
    """New block written over the old footer, the new footer torn, the table not yet changed."""
    image.file.write(image.footer_place, b"\xff" * 512 + bytes(2 * MIB))
    image.file.write(image.file.size, image.file.read(0, 64) + bytes(448))


FOOTER = (
    Violation("v01-fixed-cookie", "V01", fixed, footer(0, ">8s", b"conectiX")),
    Violation("v01-fixed-checksum", "V01", fixed, flip(6 * MIB + 200)),
    Violation("v01-fixed-footer-missing", "V01", fixed, cut(-512)),
    Violation("v01-version-2", "V01", disk, footer(12, ">I", 0x20000)),
    Violation("v01-type-0", "V01", disk, footer(60, ">I", 0)),
    Violation("v01-type-5", "V01", fixed, footer(60, ">I", 5)),
    Violation("v01-size-zero", "V01", disk, footer(48, ">Q", 0)),
    Violation("v01-size-unaligned", "V01", disk, footer(48, ">Q", 7 * MIB + 100)),
    Violation("v01-size-over-2040g", "V01", disk, footer(48, ">Q", 2040 * GIB + 512)),
    Violation("v01-size-huge", "V01", fixed, footer(48, ">Q", 1 << 63)),
    Violation("v01-fixed-too-short", "V01", fixed, footer(48, ">Q", 7 * MIB)),
    warning("v01-fixed-too-long", "V01", fixed, footer(48, ">Q", 5 * MIB)),
    warning("v01-reserved-feature-clear", "V01", disk, footer(8, ">I", 0)),
    warning("v01-unknown-feature", "V01", disk, footer(8, ">I", 0x102)),
    warning("v01-footer-511", "V01", fixed, cut(-1)),
    Violation("v02-data-offset-past-end", "V02", disk, footer(16, ">Q", GIB)),
    Violation("v02-data-offset-all-ones", "V02", disk, footer(16, ">Q", (1 << 64) - 1)),
    Violation("v02-data-offset-on-footer", "V02", disk, footer(16, ">Q", 0)),
    Violation("v02-header-cookie", "V02", disk, dynamic(0, ">8s", b"cxSparse")),
    Violation("v02-header-checksum", "V02", disk, flip(512 + 900)),
    Violation("v02-header-version", "V02", disk, dynamic(24, ">I", 0x20000)),
    Violation("v02-copies-other-id", "V02", disk, footer(68, ">16s", bytes(16), last=False)),
    Violation("v02-copies-other-size", "V02", disk, footer(48, ">Q", 6 * MIB, last=False)),
    warning("v02-copies-other-time", "V02", disk, footer(24, ">I", 1, last=False)),
    warning("v02-copy-broken", "V02", disk, flip(300)),
    warning("v02-footer-broken", "V02", disk, step(wipe_last)),
)

LAYOUT = (
    Violation("v03-block-size-zero", "V03", disk, dynamic(32, ">I", 0)),
    Violation("v03-block-size-odd", "V03", disk, dynamic(32, ">I", 3 * MIB)),
    Violation("v03-block-size-2k", "V03", disk, dynamic(32, ">I", 2048)),
    Violation("v03-block-size-512m", "V03", disk, dynamic(32, ">I", 512 * MIB)),
    Violation("v03-too-few-entries", "V03", disk, dynamic(28, ">I", 3)),
    Violation("v03-too-many-entries", "V03", disk, dynamic(28, ">I", 0xFFFFFFFF)),
    warning("v03-spare-entries", "V03", disk, dynamic(28, ">I", 100)),
    Violation("v03-table-past-end", "V03", disk, dynamic(16, ">Q", GIB)),
    Violation("v03-table-overflows", "V03", disk, dynamic(16, ">Q", (1 << 64) - 512)),
    Violation("v03-table-on-header", "V03", disk, dynamic(16, ">Q", 1024)),
    Violation("v03-table-on-copy", "V03", disk, dynamic(16, ">Q", 0)),
    Violation("v03-table-unaligned", "V03", disk, dynamic(16, ">Q", 1540)),
    Violation("v04-block-past-end", "V04", disk, vhd_entry(0, 0x7FFFFFFF)),
    Violation("v04-block-at-footer", "V04", disk,
              vhd_entry(1, lambda image, old: image.footer_place // 512)),
    Violation("v04-block-over-footer", "V04", disk,
              vhd_entry(3, lambda image, old: old + 2049)),
    warning("v04-last-block-cut-behind-the-disk", "V04", disk, step(cut_last_block)),
    Violation("v04-block-on-copy", "V04", disk, vhd_entry(0, 0)),
    Violation("v04-block-on-table", "V04", disk, vhd_entry(0, 3)),
    Violation("v04-two-blocks-one-place", "V04", disk,
              vhd_entry(1, lambda image, old: image.file.unpack(image.entry_place(0), ">I"))),
    Violation("v04-blocks-overlap", "V04", disk,
              vhd_entry(3, lambda image, old: old - 1)),
    Violation("v04-block-on-locator", "V04", child(),
              vhd_entry(0, lambda image, old: old - 1)),
    Violation("v05-bit-past-disk", "V05", child(), set_bit(3, 2048)),
    Violation("v05-last-bit-past-disk", "V05", child(), set_bit(3, 4095)),
    Violation("v05-bit-past-block", "V05", small_child, set_bit(0, 1024)),
    warning("v05-mixed-padding", "V05", small, set_bit(1, 1030)),
)

PARENT = (
    Violation("v06-unknown-platform", "V06", child(), locator_field(0, 0, ">4s", b"W9xx")),
    Violation("v06-length-exceeds-space", "V06", child(), locator_field(0, 8, ">I", 1 << 20)),
    Violation("v06-data-past-end", "V06", child(), locator_field(1, 16, ">Q", GIB)),
    Violation("v06-other-parent-id", "V06 C01", child(), dynamic(40, ">16s", bytes(16))),
    Violation("v06-no-locator-no-name", "V06", child(locators=[], parent_name="")),
    warning("v06-unused-locator-with-data", "V06", child(), locator_field(4, 8, ">I", 44)),
    warning("v07-geometry-zero", "V07", disk, footer(56, ">I", 0)),
    warning("v07-geometry-other", "V07", fixed, footer(56, ">I", 2 << 16 | 0x0411)),
    warning("v07-creator-means-geometry", "V07", disk, footer(28, ">4s", b"vpc ")),
    Violation("v08-both-footers-broken", "V08 V01", disk, flip(200), step(wipe_last)),
    Violation("v08-both-checksums-broken", "V08 V01", disk, flip(200),
              step(lambda image: image.file.flip(image.footer_place + 200))),
    Violation("v08-entry-before-block", "V08 V04", disk, step(wipe_last),
              vhd_entry(1, lambda image, old: image.footer_place // 512)),
    Violation("v08-cut-below-a-block", "V08 V04", disk, cut(-MIB - 1024)),
    warning("v08-cut-behind-the-disk", "V08 V04", disk, cut(-MIB)),
    warning("v08-interrupted-growth", "V08 V02", disk, step(interrupted_growth)),
    warning("v08-footer-missing", "V08 V02", disk, cut(-512)),
)

ALL = FOOTER + LAYOUT + PARENT
