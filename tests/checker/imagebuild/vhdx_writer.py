"""Builds VHDX images field by field."""
import struct
import uuid

from imagecheck.crc32c import crc32c

from .sparse import SparseFile

KIB, MIB = 1 << 10, 1 << 20
FULL, PARTIAL, ZERO, UNMAPPED, UNDEFINED, ABSENT = 6, 7, 2, 3, 1, 0

BAT_ID = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA_ID = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
ITEMS = {
    "params": (uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b"), 4),
    "size": (uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8"), 6),
    "page83": (uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746"), 6),
    "logical": (uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f"), 6),
    "physical": (uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556"), 6),
    "locator": (uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c"), 4),
}
LOCATOR_TYPE = uuid.UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")
ITEM_PLACES = {"params": 64 * KIB, "size": 64 * KIB + 8, "page83": 64 * KIB + 16,
               "logical": 64 * KIB + 32, "physical": 64 * KIB + 36, "locator": 68 * KIB}
HEADERS = (64 * KIB, 128 * KIB)
REGIONS = (192 * KIB, 256 * KIB)


def fixed_guid(number):
    """GUIDs that differ, and are the same in every run."""
    return uuid.UUID(int=0x11111111_2222_4333_8444_000000000000 + number)


def locator_item(pairs, kind=LOCATOR_TYPE):
    """A parent locator item holding (key, value) pairs; bytes stand for raw UTF-16."""
    blob, entries = b"", b""
    start = 20 + 12 * len(pairs)
    for key, value in pairs:
        places = []
        for text in (key, value):
            raw = text if isinstance(text, bytes) else text.encode("utf-16-le")
            places.append((start + len(blob), len(raw)))
            blob += raw
        entries += struct.pack("<IIHH", places[0][0], places[1][0], places[0][1], places[1][1])
    return kind.bytes_le + struct.pack("<HH", 0, len(pairs)) + entries + blob


class Vhdx:
    """A model of one image; `build` packs it. All fields may be set before that."""

    def __init__(self, name="disk.vhdx"):
        self.name = name
        self.block_size = MIB
        self.logical = self.physical = 512
        self.size = 12 * MIB
        self.leave_allocated = False
        self.locator = None          # pairs, for a differencing disk
        self.sequence = 8
        self.file_write, self.data_write = fixed_guid(1), fixed_guid(2)
        self.log_guid = uuid.UUID(int=0)
        self.log_offset, self.log_length = MIB, MIB
        self.bat_offset, self.bat_length = 2 * MIB, MIB
        self.metadata_offset, self.metadata_length = 3 * MIB, MIB
        self.page83 = fixed_guid(3)
        self.blocks = {}             # block: (state, data or None, {sector in block} or None)
        self.entries = []            # ring positions of log entries, for whoever damages them
        self.file = None

    @property
    def ratio(self):
        return (1 << 23) * self.logical // self.block_size

    def bat_place(self, block):
        """File offset of a payload entry."""
        return self.bat_offset + 8 * (block + block // self.ratio)

    def bitmap_place(self, chunk):
        """File offset of a bitmap entry."""
        return self.bat_offset + 8 * ((chunk + 1) * self.ratio + chunk)

    def item_place(self, name):
        """File offset of an item's value."""
        return self.metadata_offset + ITEM_PLACES[name]

    def table_place(self, name):
        """File offset of an item's entry in the metadata table."""
        return self.metadata_offset + 32 + 32 * list(ITEMS).index(name)

    def block_place(self, block):
        """File offset of a block, from the table in the file."""
        return self.file.unpack(self.bat_place(block), "<Q") >> 20 << 20

    def build(self):
        """Packs everything; returns the SparseFile, which stays reachable as `self.file`."""
        self.file = out = SparseFile(4 * MIB, self.name)
        creator = "OpenVHD checker test".encode("utf-16-le")
        out.write(0, b"vhdxfile" + creator)
        self.write_headers()
        self.write_regions()
        self._write_metadata()
        self._write_blocks()
        return out

    def write_headers(self):
        """Both copies; the second is current."""
        for number, place in enumerate(HEADERS):
            raw = struct.pack("<4sIQ16s16s16sHHIQ", b"head", 0, self.sequence - 1 + number,
                              self.file_write.bytes_le, self.data_write.bytes_le,
                              self.log_guid.bytes_le, 0, 1, self.log_length, self.log_offset)
            self.file.write(place, raw.ljust(4096, b"\0"))
        self.fix_headers()

    def write_regions(self, entries=None):
        """Both region tables; `entries` are (guid, offset, length, flags)."""
        if entries is None:
            entries = [(BAT_ID, self.bat_offset, self.bat_length, 1),
                       (METADATA_ID, self.metadata_offset, self.metadata_length, 1)]
        raw = struct.pack("<4sIII", b"regi", 0, len(entries), 0)
        for guid, offset, length, flags in entries:
            raw += struct.pack("<16sQII", guid.bytes_le, offset, length, flags)
        for place in REGIONS:
            self.file.write(place, raw.ljust(64 * KIB, b"\0")[:64 * KIB])
        self.fix_regions()

    def fix_headers(self):
        """Recomputes both header checksums."""
        for place in HEADERS:
            self._fix(place, 4096)

    def fix_regions(self):
        """Recomputes both region table checksums."""
        for place in REGIONS:
            self._fix(place, 64 * KIB)

    def _fix(self, place, length):
        self.file.pack(place + 4, "<I", 0)
        self.file.pack(place + 4, "<I", crc32c(self.file.read(place, length)))

    def _write_metadata(self):
        flags = (1 if self.leave_allocated else 0) | (2 if self.locator is not None else 0)
        values = {"params": struct.pack("<II", self.block_size, flags),
                  "size": struct.pack("<Q", self.size), "page83": self.page83.bytes_le,
                  "logical": struct.pack("<I", self.logical),
                  "physical": struct.pack("<I", self.physical)}
        if self.locator is not None:
            values["locator"] = locator_item(self.locator)
        self.file.write(self.metadata_offset, b"metadata" + struct.pack("<HH", 0, len(values)))
        for name, raw in values.items():
            guid, item_flags = ITEMS[name]
            self.file.write(self.table_place(name), struct.pack(
                "<16sIIII", guid.bytes_le, ITEM_PLACES[name], len(raw), item_flags, 0))
            self.file.write(self.item_place(name), raw)

    def set_locator(self, pairs, **changes):
        """Replaces the parent locator of a built differencing disk."""
        raw = locator_item(pairs, **changes)
        self.file.pack(self.table_place("locator") + 20, "<I", len(raw))
        self.file.zero(self.item_place("locator"), 4096)
        self.file.write(self.item_place("locator"), raw)

    def _write_blocks(self):
        place = max(self.bat_offset + self.bat_length, self.metadata_offset + self.metadata_length)
        bitmaps = {}
        for block in sorted(self.blocks):
            state, data, sectors = self.blocks[block]
            value = state
            if state in (FULL, PARTIAL) or data is not None:
                self.file.write(place, data or b"")
                value |= place
                place += self.block_size
            self.file.pack(self.bat_place(block), "<Q", value)
            if sectors is not None:
                bits = bitmaps.setdefault(block // self.ratio, bytearray(MIB))
                first = block % self.ratio * self.block_size // self.logical
                for sector in sectors:
                    bits[(first + sector) // 8] |= 1 << (first + sector) % 8
        for chunk, bits in sorted(bitmaps.items()):
            self.file.write(place, bytes(bits))
            self.file.pack(self.bitmap_place(chunk), "<Q", place | 6)
            place += MIB
        self.file.truncate(max(place, self.file.size))

    def contents(self, parent=b""):
        """What a guest must read, as one byte string."""
        out = bytearray(parent[:self.size].ljust(self.size, b"\0"))
        if self.locator is None:
            out = bytearray(self.size)
        for block, (state, data, sectors) in self.blocks.items():
            base = block * self.block_size
            end = min(base + self.block_size, self.size)
            data = (data or b"").ljust(self.block_size, b"\0")
            if state == FULL:
                out[base:end] = data[:end - base]
            elif state == PARTIAL:
                for sector in sectors:
                    at = sector * self.logical
                    out[base + at:base + at + self.logical] = data[at:at + self.logical]
            elif state != ABSENT:
                out[base:end] = bytes(end - base)
        return bytes(out)
