#!/usr/bin/env python3
"""resize, as users run it."""

import os
import struct
import unittest
import uuid
import zlib

from program import (Case, GIB, KIB, MIB, NOT_FOUND, REFUSED, USAGE, bytes_of, needs)

SECTOR = 512


def gpt_disk(size, partitions, sector=SECTOR):
    """Pieces of a disk with a GPT: offset -> bytes. Partitions are (first, last) LBAs. Written from
    UEFI 2.10, 5.3, sharing nothing with the library."""
    sectors = size // sector
    array = bytearray(128 * 128)
    for i, (first, last) in enumerate(partitions):
        array[i * 128:i * 128 + 56] = (uuid.UUID(int=7).bytes_le + uuid.UUID(int=i + 1).bytes_le +
                                       struct.pack("<QQQ", first, last, 0))
    array_sectors = len(array) // sector

    def header(lba, other, array_lba):
        fields = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, lba, other,
                             2 + array_sectors, sectors - array_sectors - 2,
                             uuid.UUID(int=9).bytes_le, array_lba, 128, 128, zlib.crc32(array))
        crc = zlib.crc32(fields)
        return fields[:16] + struct.pack("<I", crc) + fields[20:] + bytes(sector - 92)

    mbr = bytearray(sector)
    mbr[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1,
                               min(sectors - 1, 0xffffffff))
    mbr[510:512] = b"\x55\xaa"
    backup = sectors - 1
    return {0: bytes(mbr), sector: header(1, backup, 2), 2 * sector: bytes(array),
            (backup - array_sectors) * sector: bytes(array),
            backup * sector: header(backup, 1, backup - array_sectors)}


def gpt_faults(disk, sector=SECTOR):
    """What is wrong with both copies of the GPT of a disk in memory; empty when nothing is."""
    sectors = len(disk) // sector
    faults = []
    for lba, other in ((1, sectors - 1), (sectors - 1, 1)):
        raw = disk[lba * sector:(lba + 1) * sector]
        fields = struct.unpack("<8sIIIIQQQQ16sQIII", raw[:92])
        if fields[0] != b"EFI PART":
            faults.append(f"{lba}: signature")
            continue
        if zlib.crc32(raw[:16] + bytes(4) + raw[20:92]) != fields[3]:
            faults.append(f"{lba}: checksum")
        if (fields[5], fields[6]) != (lba, other):
            faults.append(f"{lba}: places {fields[5]} {fields[6]}")
        array = disk[fields[10] * sector:fields[10] * sector + fields[11] * fields[12]]
        if zlib.crc32(array) != fields[13]:
            faults.append(f"{lba}: array")
        if fields[8] != sectors - len(array) // sector - 2:
            faults.append(f"{lba}: last usable {fields[8]}")
    return faults


class Resize(Case):
    def disk_of(self, name, size, pieces):
        """An image of `size` bytes that holds these pieces."""
        raw = self.path(name + ".img")
        with open(raw, "wb") as file:
            file.truncate(size)
            for at, data in pieces.items():
                file.seek(at)
                file.write(data)
        self.run_tool("convert", raw, self.path(name), "--from", "raw")
        return self.path(name)

    def size(self, path):
        return self.run_tool("info", path, "--json").json()["layers"][0]["virtual_size"]

    def test_sizes_are_absolute_or_changes(self):
        path = self.create("a.vhdx", 64 * MIB)
        for words, size in (((100 * MIB,), 100 * MIB), (("+28M",), 128 * MIB),
                            (("-100M",), 28 * MIB), (("3T",), 3 << 40)):
            with self.subTest(words):
                before = self.size(path)
                result = self.run_tool("resize", path, *words, "--json").json()
                self.assertEqual((result["old_size"], result["new_size"]), (before, size))
                self.assertEqual(result["file_size_after"], os.path.getsize(path))
                self.assertEqual(self.size(path), size)
                self.run_tool("check", path)

    def test_wrong_words_are_usage(self):
        path = self.create("a.vhdx", 64 * MIB)
        before = bytes_of(path)
        for words in ((), ("1G", "--minimum"), ("0",), ("-64M",), ("1000",), ("65T",), ("much",)):
            with self.subTest(words):
                self.run_tool("resize", path, *words, code=USAGE)
        self.run_tool("resize", self.path("gone.vhdx"), "+1M", code=NOT_FOUND)
        self.assertEqual(bytes_of(path), before)

    def test_each_rule_names_the_size_that_breaks_it(self):
        for ending, words, rules in (
                ("vhd", ("2041G", "+2040G", "1000", "+1000"),
                 ("over 2040 GiB", "over 2040 GiB", "no multiple of 512", "no multiple of 512")),
                ("vhdx", ("65T", "+64T", "1000", "+1000"),
                 ("over 64 TiB", "over 64 TiB", "no multiple of the logical",
                  "no multiple of the logical"))):
            path = self.create(f"a.{ending}", 8 * MIB)
            before = bytes_of(path)
            asked = {"2041G": 2041 * GIB, "+2040G": 2040 * GIB + 8 * MIB, "65T": 65 << 40,
                     "+64T": (64 << 40) + 8 * MIB, "1000": 1000, "+1000": 8 * MIB + 1000}
            for word, rule in zip(words, rules):
                with self.subTest(ending=ending, word=word):
                    outcome = self.run_tool("resize", path, word, "--force", code=USAGE)
                    self.assertIn(f"{asked[word]:,} bytes", outcome.err)
                    self.assertIn(rule, outcome.err)
            self.assertEqual(bytes_of(path), before)

    def test_data_is_kept_and_not_cut(self):
        path = self.create("a.vhdx", 64 * MIB)
        self.io(path, "write -P 7 10M 1M", "write -P 9 40M 4096")
        before = bytes_of(path)
        outcome = self.run_tool("resize", path, "40M", code=USAGE)
        self.assertIn("cut off data", outcome.err)
        self.assertEqual(bytes_of(path), before)
        result = self.run_tool("resize", path, "--minimum", "--json").json()
        self.assertEqual(result["new_size"], 41 * MIB)
        self.assertEqual(result["smallest"], {"bytes": 41 * MIB, "basis": "data"})
        self.io(path, "read -P 7 10M 1M", "read -P 9 40M 4096")
        self.run_tool("resize", path, "20M", "--force")
        self.run_tool("resize", path, "64M")
        self.io(path, "read -P 7 10M 1M", "read -P 0 11M 53M")
        self.run_tool("check", path)

    def test_a_gpt_says_how_small_and_is_moved(self):
        for ending in ("vhdx", "vhd"):
            with self.subTest(ending):
                path = self.disk_of(f"a.{ending}", 64 * MIB,
                                    gpt_disk(64 * MIB, [(2048, 40959), (40960, 59999)]))
                grown = self.run_tool("resize", path, "96M", "--json").json()
                self.assertEqual(grown["gpt"],
                                 {"present": True, "moved": False, "must_move": True})
                self.assertIn("--fix-gpt", self.run_tool("resize", path, "97M").out)
                info = self.run_tool("info", path, "--json").json()
                self.assertEqual(info["gpt"], "backup-must-move")
                self.assertIn("--fix-gpt", self.run_tool("info", path).err)
                fixed = self.run_tool("resize", path, "98M", "--fix-gpt", "--json").json()
                self.assertEqual(fixed["gpt"],
                                 {"present": True, "moved": True, "must_move": False})
                self.assertEqual(gpt_faults(self.raw_of(path)), [])
                self.assertEqual(self.run_tool("info", path, "--json").json()["gpt"], "whole")
                outcome = self.run_tool("resize", path, "20M", code=USAGE)
                self.assertIn("partition", outcome.err)
                least = self.run_tool("resize", path, "--minimum", "--fix-gpt", "--json").json()
                self.assertEqual(least["new_size"], (60000 + 33) * SECTOR)
                self.assertEqual(least["smallest"]["basis"], "gpt")
                self.assertEqual(gpt_faults(self.raw_of(path)), [])
                self.run_tool("check", path)

    def test_an_mbr_says_how_small(self):
        mbr = bytearray(SECTOR)
        mbr[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff" * 3, 2048, 38912)
        mbr[510:512] = b"\x55\xaa"
        path = self.disk_of("a.vhdx", 64 * MIB, {0: bytes(mbr)})
        self.io(path, "write -P 9 40M 1M")
        result = self.run_tool("resize", path, "--minimum", "--json").json()
        self.assertEqual(result["smallest"], {"bytes": 20 * MIB, "basis": "mbr"})
        self.run_tool("check", path)

    def test_a_damaged_gpt_needs_force(self):
        path = self.disk_of("a.vhdx", 64 * MIB, gpt_disk(64 * MIB, [(2048, 40959)]))
        self.io(path, "write -P 0 512 512")
        # The backup alone is enough to know, and to mend the first copy from.
        self.run_tool("resize", path, "10M", code=USAGE)
        self.run_tool("resize", path, "+0x100000", "--fix-gpt")
        self.assertEqual(gpt_faults(self.raw_of(path)), [])
        self.io(path, "write -P 0 512 512", f"write -P 0 {65 * MIB - 512} 512")
        outcome = self.run_tool("resize", path, "30M", code=REFUSED)
        self.assertIn("GPT", outcome.err)
        self.run_tool("resize", path, "30M", "--force")

    def test_a_child_stays_as_large_as_its_parent(self):
        parent = self.create("p.vhdx", 64 * MIB)
        self.io(parent, "write -P 3 63M 1M")
        child = self.path("c.avhdx")
        self.run_tool("create", child, "--type", "differencing", "--parent", parent)
        self.run_tool("resize", child, "80M")
        self.io(child, "read -P 3 63M 1M", "read -P 0 64M 16M", "write -P 4 70M 1M")
        outcome = self.run_tool("resize", child, "60M", "--force", code=USAGE)
        self.assertIn("parent", outcome.err)
        self.run_tool("resize", child, "64M", "--force")
        self.run_tool("resize", child, "80M")
        self.io(child, "read -P 3 63M 1M", "read -P 0 64M 16M")
        self.run_tool("check", "--chain", child)

    @needs("qemu-img")
    def test_qemu_reads_what_was_resized(self):
        import subprocess
        path = self.create("a.vhdx", 126 * GIB, "--block-size", "1M")
        self.io(path, "write -P 7 125G 1M")
        self.run_tool("resize", path, "200G")
        self.io(path, "write -P 8 199G 1M")
        self.run_tool("resize", path, "200G")
        for words in (("check",), ("info",)):
            done = subprocess.run(["qemu-img", *words, path], capture_output=True, check=False,
                                  timeout=60)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn(b"200 GiB", done.stdout)


if __name__ == "__main__":
    unittest.main()
