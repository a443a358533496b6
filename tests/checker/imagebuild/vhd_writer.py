"""Builds VHD images field by field."""
import struct
import uuid

from .sparse import SparseFile

KIB, MIB = 1 << 10, 1 << 20
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
UNUSED = 0xFFFFFFFF


def chs(size):
    """Geometry of small disks (17 sectors per track suffices for up to 8 MiB, 16 heads)."""
    sectors = size // 512
    tracks = sectors // 17
    heads = max(4, -(-tracks // 1024))
    assert heads <= 16 and tracks < heads * 1024, "writer knows small disks only"
    return tracks // heads, heads, 17


def checksum(raw, field):
    """One's complement of the byte sum without the checksum field."""
    return 0xFFFFFFFF - sum(raw[:field] + raw[field + 4:]) % (1 << 32)


class Vhd:
    """A model of one image; `build` packs it."""

    def __init__(self, kind, name="disk.vhd"):
        self.name = name
        self.kind = kind
        self.size = 6 * MIB
        self.block_size = 2 * MIB
        self.creator, self.creator_version = b"win ", 0xA0000
        self.unique_id = uuid.UUID(int=0x0A0B0C0D_1111_4222_8333_444444444444)
        self.timestamp = 700000000
        self.parent_id = uuid.UUID(int=0)
        self.parent_timestamp = 0
        self.parent_name = ""
        self.locators = []           # (code, raw text)
        self.entries = None          # as many as the disk needs
        self.blocks = {}             # block: (data, {sectors} or None for all bits)
        self.file = None
        self.header_place, self.bat_place = 512, 1536

    @property
    def bitmap_size(self):
        return -(-(self.block_size // 512 // 8) // 512) * 512

    def entry_place(self, block):
        """File offset of a BAT entry."""
        return self.bat_place + 4 * block

    def block_place(self, block):
        """File offset of a block's bitmap, from the table in the file."""
        return 512 * self.file.unpack(self.entry_place(block), ">I")

    @property
    def footer_place(self):
        return self.file.size - 512

    def build(self):
        """Packs everything; returns the SparseFile, which stays reachable as `self.file`."""
        self.file = out = SparseFile(0, self.name)
        footer = self.footer()
        if self.kind == FIXED:
            for block, (data, _) in self.blocks.items():
                out.write(block * self.block_size, data)
            out.truncate(self.size)
            out.write(self.size, footer)
            return out
        out.write(0, footer)
        entries = self.entries or -(-self.size // self.block_size)
        place = self.bat_place + -(-4 * entries // 512) * 512
        out.write(self.bat_place, b"\xff" * (place - self.bat_place))
        table = []
        for code, raw in self.locators:
            out.write(place, raw.ljust(512, b"\0"))
            table.append((code, 512, len(raw), 0, place))
            place += 512
        out.write(self.header_place, self._header(entries, table))
        for block in sorted(self.blocks):
            place = self._write_block(block, place)
        out.write(place, footer)
        return out

    def footer(self):
        """The 512 bytes of a footer."""
        offset = (1 << 64) - 1 if self.kind == FIXED else self.header_place
        raw = struct.pack(">8sIIQI4sI4sQQHBBII16sB", b"conectix", 2, 0x10000, offset,
                          self.timestamp, self.creator, self.creator_version, b"Wi2k", self.size,
                          self.size, *chs(self.size), self.kind, 0, self.unique_id.bytes, 0)
        raw = raw.ljust(512, b"\0")
        return raw[:64] + struct.pack(">I", checksum(raw, 64)) + raw[68:]

    def _header(self, entries, locators):
        name = self.parent_name.encode("utf-16-be").ljust(512, b"\0")
        raw = struct.pack(">8sQQIIII16sII", b"cxsparse", (1 << 64) - 1, self.bat_place, 0x10000,
                          entries, self.block_size, 0, self.parent_id.bytes,
                          self.parent_timestamp, 0) + name
        for code, space, length, _, offset in locators:
            raw += struct.pack(">4sIIIQ", code, space, length, 0, offset)
        raw = raw.ljust(1024, b"\0")
        return raw[:36] + struct.pack(">I", checksum(raw, 36)) + raw[40:]

    def _write_block(self, block, place):
        data, sectors = self.blocks[block]
        count = self.block_size // 512
        bits = bytearray(self.bitmap_size)
        for sector in range(count) if sectors is None else sectors:
            bits[sector // 8] |= 0x80 >> sector % 8
        self.file.write(place, bytes(bits))
        self.file.write(place + self.bitmap_size, data)
        self.file.pack(self.entry_place(block), ">I", place // 512)
        self.file.truncate(place + self.bitmap_size + self.block_size)
        return self.file.size

    def fix_footers(self):
        """Recomputes the checksum of every footer that is there."""
        for place in {0, self.file.size - 512}:
            raw = self.file.read(place, 512)
            if raw[:8] == b"conectix":
                self.file.pack(place + 64, ">I", checksum(raw, 64))

    def fix_header(self):
        """Recomputes the checksum of the dynamic header."""
        raw = self.file.read(self.header_place, 1024)
        self.file.pack(self.header_place + 36, ">I", checksum(raw, 36))

    def contents(self, parent=b""):
        """What a guest must read, as one byte string."""
        out = bytearray(parent[:self.size].ljust(self.size, b"\0"))
        if self.kind != DIFFERENCING:
            out = bytearray(self.size)
        for block, (data, sectors) in self.blocks.items():
            base = block * self.block_size
            data = data.ljust(self.block_size, b"\0")
            for sector in range(self.block_size // 512) if sectors is None else sectors:
                at = base + sector * 512
                if at < self.size:
                    out[at:at + 512] = data[sector * 512:sector * 512 + 512]
        return bytes(out)
