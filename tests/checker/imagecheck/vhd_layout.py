"""Constants and record layouts of the VHD format (big-endian)."""
import struct
import uuid
from collections import namedtuple

SECTOR = 512
GIB = 1 << 30
FOOTER_SIZE = 512
SHORT_FOOTER = 511
HEADER_SIZE = 1024
MAX_SIZE = 2040 * GIB
MAX_BLOCK = 256 << 20
MAX_ENTRIES = 1 << 22
UNUSED = 0xFFFFFFFF
ALL_ONES = (1 << 64) - 1
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
TYPE_NAMES = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}
PLATFORMS = (b"\0\0\0\0", b"Wi2r", b"Wi2k", b"W2ru", b"W2ku", b"Mac ", b"MacX")
MAX_GEOMETRY = (65535, 16, 255)
# Creators that mean the geometry, not Current Size (unless the geometry is at its maximum).
CHS_CREATORS = (b"vpc ", b"qemu")

Footer = namedtuple("Footer", "offset features version data_offset timestamp creator "
                    "creator_version creator_os original_size current_size geometry kind "
                    "checksum unique_id saved_state raw")
DynamicHeader = namedtuple("DynamicHeader", "offset data_offset table_offset version entries "
                           "block_size checksum parent_id parent_timestamp parent_name locators")
Locator = namedtuple("Locator", "place code space length offset")

_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB")
_HEADER = struct.Struct(">8sQQIIII16sII")
_LOCATOR = struct.Struct(">4sIIIQ")


def checksum(raw, field):
    """One's complement of the byte sum, the 4 bytes at `field` counted as zero."""
    return ~(sum(raw) - sum(raw[field:field + 4])) & 0xFFFFFFFF


def decode_footer(raw, offset):
    (_, features, version, data_offset, stamp, creator, creator_version, creator_os, original,
     current, cylinders, heads, sectors, kind, check, ident, saved) = _FOOTER.unpack_from(raw)
    return Footer(offset, features, version, data_offset, stamp, creator, creator_version,
                  creator_os, original, current, (cylinders, heads, sectors), kind, check,
                  uuid.UUID(bytes=ident), saved, raw)


def decode_header(raw, offset):
    (_, data_offset, table, version, entries, block, check, parent, stamp,
     _) = _HEADER.unpack_from(raw)
    locators = [Locator(offset + 576 + 24 * i, *_unpack_locator(raw, 576 + 24 * i))
                for i in range(8)]
    return DynamicHeader(offset, data_offset, table, version, entries, block, check,
                         uuid.UUID(bytes=parent), stamp, raw[64:576], locators)


def _unpack_locator(raw, at):
    code, space, length, _, offset = _LOCATOR.unpack_from(raw, at)
    return code, space, length, offset


def geometry(size):
    """CHS by the algorithm of the VHD specification for `size` bytes."""
    sectors = min(size // SECTOR, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        per_track, heads = 255, 16
        cylinder_heads = sectors // per_track
    else:
        per_track = 17
        cylinder_heads = sectors // per_track
        heads = max((cylinder_heads + 1023) // 1024, 4)
        if cylinder_heads >= heads * 1024 or heads > 16:
            per_track, heads = 31, 16
            cylinder_heads = sectors // per_track
        if cylinder_heads >= heads * 1024:
            per_track, heads = 63, 16
            cylinder_heads = sectors // per_track
    return (cylinder_heads // heads, heads, per_track)


def geometry_size(chs):
    """Bytes that a geometry describes."""
    return chs[0] * chs[1] * chs[2] * SECTOR


def round_up(value, unit):
    return -(-value // unit) * unit
