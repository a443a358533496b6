"""The checker's small parts against slow and obvious versions of themselves."""
import os
import random
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from imagebuild import bases  # noqa: E402
from imagecheck import bits, vhd_footer, vhd_layout, vhdx_geometry  # noqa: E402
from imagecheck.chain import plain_component  # noqa: E402
from imagecheck.crc32c import Crc32c, crc32c, crc32c_with_zeroed_field  # noqa: E402
from imagecheck.source import MemorySource, ReplayOverlay  # noqa: E402
from imagecheck.spacemap import RangeMap, UnitMap  # noqa: E402

MIB = 1 << 20


def slow_crc32c(data):
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


class Checksums(unittest.TestCase):
    def test_known_vectors(self):
        """RFC 3720 B.4."""
        self.assertEqual(crc32c(b""), 0)
        self.assertEqual(crc32c(b"123456789"), 0xE3069283)
        self.assertEqual(crc32c(bytes(32)), 0x8A9136AA)
        self.assertEqual(crc32c(b"\xff" * 32), 0x62A8AB43)
        self.assertEqual(crc32c(bytes(range(32))), 0x46DD794E)
        self.assertEqual(crc32c(bytes(range(31, -1, -1))), 0x113FDB5C)

    def test_zero_runs_and_pieces(self):
        rng = random.Random(1)
        for _ in range(60):
            data = b"".join(rng.choice((bytes(rng.randrange(9000)),
                                        rng.randbytes(rng.randrange(700)))) for _ in range(4))
            wanted = slow_crc32c(data)
            self.assertEqual(crc32c(data), wanted)
            cut = rng.randrange(len(data) + 1)
            self.assertEqual(Crc32c().update(data[:cut]).update(data[cut:]).value(), wanted)

    def test_zeroed_field(self):
        data = random.Random(2).randbytes(5000)
        self.assertEqual(crc32c_with_zeroed_field(data, 4),
                         slow_crc32c(data[:4] + bytes(4) + data[8:]))

    def test_vhd_checksum_is_the_complement_of_the_byte_sum(self):
        raw = bytes(range(256)) * 2
        self.assertEqual(vhd_layout.checksum(raw, 64),
                         (1 << 32) - 1 - (sum(raw) - sum(range(64, 68))))


class Bitmaps(unittest.TestCase):
    def test_runs_cover_the_bits_in_both_orders(self):
        rng = random.Random(3)
        for _ in range(100):
            raw = rng.choice((rng.randbytes(9), bytes(9), b"\xff" * 9))
            count = rng.randrange(1, 73)
            for runs, bit in ((bits.runs_msb, lambda n: raw[n // 8] >> 7 - n % 8 & 1),
                              (bits.runs_lsb, lambda n: raw[n // 8] >> n % 8 & 1)):
                flat = [present for _, number, present in runs(raw, count)
                        for _ in range(number)]
                self.assertEqual(flat, [bool(bit(n)) for n in range(count)])


class Space(unittest.TestCase):
    def test_range_conflicts(self):
        space = RangeMap()
        for start, end, name in ((0, 10, "a"), (10, 20, "b"), (30, 40, "c"), (35, 36, "d"),
                                 (39, 50, "e"), (60, 60, "nothing")):
            space.add(start, end, name)
        self.assertEqual([(one[2], two[2]) for one, two in space.conflicts()],
                         [("c", "d"), ("c", "e")])
        self.assertEqual(space.overlapping(9, 11), ["a", "b"])

    def test_units_clash_across_pages(self):
        units = UnitMap()
        self.assertIsNone(units.claim(8190, 8195, 1))
        self.assertIsNone(units.claim(8195, 8196, 2))
        self.assertEqual(units.claim(8000, 8200, 3), (8190, 1))

    def test_overlay_prefers_the_latest_operation(self):
        rng = random.Random(4)
        for _ in range(50):
            pages = 24
            raw = rng.randbytes(4096 * pages)
            flat = bytearray(raw[:4096 * 8])
            operations = []
            for _ in range(rng.randrange(1, 12)):
                at = rng.randrange(8)
                if rng.random() < 0.5:
                    source = rng.randrange(8, pages)
                    lead, trail = rng.randbytes(8), rng.randbytes(4)
                    operations.append(("data", at * 4096, source * 4096, lead, trail))
                    sector = raw[source * 4096:source * 4096 + 4096]
                    flat[at * 4096:at * 4096 + 4096] = lead + sector[8:-4] + trail
                else:
                    count = rng.randrange(1, 9 - at)
                    operations.append(("zero", at * 4096, count * 4096))
                    flat[at * 4096:(at + count) * 4096] = bytes(count * 4096)
            view = ReplayOverlay(MemorySource(raw, "raw"), operations, 0)
            self.assertEqual(view.read(0, 8 * 4096), bytes(flat))


class Tables(unittest.TestCase):
    def test_geometry_regimes(self):
        """One size in each regime of the VHD specification's algorithm."""
        gib = 1 << 30
        for size, wanted in ((4 << 20, (120, 4, 17)), (40 << 20, (963, 5, 17)),
                             (200 << 20, (825, 16, 31)), (gib, (2080, 16, 63)),
                             (127 * gib, (65278, 16, 255)), (2040 * gib, (65535, 16, 255))):
            self.assertEqual(vhd_layout.geometry(size), wanted, size)

    def test_size_by_creator(self):
        footer = vhd_layout.decode_footer(bases.vhd_fixed().footer(), 0)
        size, chs = footer.current_size, vhd_layout.geometry_size(footer.geometry)
        self.assertLess(chs, size)
        biggest = footer._replace(geometry=vhd_layout.MAX_GEOMETRY)
        for creator, rule, wanted in ((b"win ", "auto", size), (b"qem2", "auto", size),
                                      (b"tap\0", "auto", size), (b"d2v ", "auto", size),
                                      (b"vpc ", "auto", chs), (b"qemu", "auto", chs),
                                      (b"vpc ", "current", size), (b"win ", "chs", chs)):
            self.assertEqual(vhd_footer.virtual_size(footer._replace(creator=creator), rule),
                             wanted, (creator, rule))
        self.assertEqual(vhd_footer.virtual_size(biggest._replace(creator=b"qemu"), "auto"), size)

    def test_bat_indices_interleave(self):
        class Metadata:
            block_size, logical, has_parent = 1 << 28, 512, False
            virtual_size = 40 << 28

        class Region:
            offset, length = 2 * MIB, MIB

        table = vhdx_geometry.Geometry(Metadata, Region)
        self.assertEqual((table.ratio, table.blocks, table.chunks, table.entries), (16, 40, 3, 42))
        layout, block = [], 0
        while block < 40:
            layout.extend(range(block, min(block + 16, 40)))
            block += 16
            layout.append(None)
        for index in range(table.entries):
            self.assertEqual(table.is_bitmap(index), layout[index] is None)
            if layout[index] is not None:
                self.assertEqual(table.block_of(index), layout[index])
                self.assertEqual(table.payload_index(layout[index]), index)
        self.assertEqual([table.bitmap_index(chunk) for chunk in range(2)], [16, 33])
        Metadata.has_parent = True
        self.assertEqual(vhdx_geometry.Geometry(Metadata, Region).entries, 51)


class Names(unittest.TestCase):
    def test_only_one_plain_component_is_a_parent_name(self):
        for text, wanted in ((".\\base.vhdx", "base.vhdx"), ("base.vhdx", "base.vhdx"),
                             ("./base.vhdx", "base.vhdx"), ("..\\base.vhdx", None),
                             ("..", None), (".", None), ("", None), (".\\", None),
                             (".\\.\\base.vhdx", None), ("a\\b", None), ("a/b", None),
                             ("C:base", None), ("base.vhdx.", None), ("base ", None),
                             ("a\0b", None), ("a\nb", None), ("x" * 256, None),
                             ("\u00e9" * 128, None), ("b\u00e4se.vhdx", "b\u00e4se.vhdx")):
            self.assertEqual(plain_component(text), wanted, repr(text))


if __name__ == "__main__":
    unittest.main()
