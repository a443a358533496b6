"""Constants and record layouts of MS-VHDX, decoded from private copies of the bytes."""
import struct
import uuid
from collections import namedtuple

KIB = 1 << 10
MIB = 1 << 20
TIB = 1 << 40

HEADER_SECTION = MIB
HEADER_OFFSETS = (64 * KIB, 128 * KIB)
HEADER_SIZE = 4 * KIB
REGION_OFFSETS = (192 * KIB, 256 * KIB)
REGION_TABLE_SIZE = 64 * KIB
METADATA_TABLE_SIZE = 64 * KIB
LOG_SECTOR = 4 * KIB
MAX_TABLE_ENTRIES = 2047
MAX_USER_ITEMS = 1024
MAX_ITEM = MIB
MAX_DISK = 64 * TIB
BITMAP_BLOCK = MIB
BITMAP_SECTORS = 1 << 23

BAT_REGION = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA_REGION = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
PAGE83 = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
VHDX_LOCATOR_TYPE = uuid.UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")
NIL = uuid.UUID(int=0)

NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, FULL, PARTIAL = 0, 1, 2, 3, 6, 7
STATE_NAMES = {NOT_PRESENT: "not_present", UNDEFINED: "undefined", ZERO: "zero",
               UNMAPPED: "unmapped", FULL: "fully_present", PARTIAL: "partially_present"}
BITMAP_STATES = (0, 6)

Header = namedtuple("Header", "offset checksum sequence file_write data_write log_guid "
                    "log_version version log_length log_offset raw")
RegionEntry = namedtuple("RegionEntry", "place guid offset length flags")
ItemEntry = namedtuple("ItemEntry", "place guid offset length flags reserved")
LocatorEntry = namedtuple("LocatorEntry", "place key_offset value_offset key_length value_length")

_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_REGION = struct.Struct("<16sQII")
_ITEM = struct.Struct("<16sIIII")
_LOCATOR = struct.Struct("<IIHH")


def guid(raw):
    """A GUID from its mixed-endian 16 bytes."""
    return uuid.UUID(bytes_le=bytes(raw))


def decode_header(raw, offset):
    _, checksum, seq, fw, dw, log, log_version, version, length, place = _HEADER.unpack_from(raw)
    return Header(offset, checksum, seq, guid(fw), guid(dw), guid(log), log_version, version,
                  length, place, raw)


def decode_region(raw, position, place):
    ident, offset, length, flags = _REGION.unpack_from(raw, position)
    return RegionEntry(place, guid(ident), offset, length, flags)


def decode_item(raw, position, place):
    ident, offset, length, flags, reserved = _ITEM.unpack_from(raw, position)
    return ItemEntry(place, guid(ident), offset, length, flags, reserved)


def decode_locator(raw, position):
    return LocatorEntry(position, *_LOCATOR.unpack_from(raw, position))


def aligned(value, unit=MIB):
    return value % unit == 0


def power_of_two(value):
    return value > 0 and value & (value - 1) == 0
