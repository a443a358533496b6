#!/usr/bin/env python3
"""Images that claim more than a machine has, under a limit on address space (T13).

Every verb that reads them ends in order, with an exit code of its own, within 256 MiB of memory: no
count and no length in an image makes the tool allocate what is not there.
"""

import errno
import os
import resource
import struct
import subprocess
import sys
import unittest

from program import BUSY, DIFFERENT, GIB, IO, KIB, MIB, NO_SPACE, OK, REFUSED, VHDTOOL, Case

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "checker"))
from imagecheck.crc32c import crc32c_with_zeroed_field  # noqa: E402

TIB = 1 << 40
SPACE = 768 * MIB  # of addresses: programs and libraries are in it, and threads' stacks
MOST = 256 * MIB  # of memory
ORDERLY = {OK, DIFFERENT, REFUSED, IO, NO_SPACE, BUSY}


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (SPACE, SPACE))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * MIB, 64 * MIB))


def patch(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def seal(path, at, length):
    """The CRC-32C at offset 4 of a structure of VHDX."""
    with open(path, "rb") as file:
        file.seek(at)
        data = file.read(length)
    patch(path, at + 4, struct.pack("<I", crc32c_with_zeroed_field(data, 4)))


def sum_vhd(path, at, length, field):
    """The one's complement of a structure of VHD."""
    with open(path, "rb") as file:
        file.seek(at)
        data = bytearray(file.read(length))
    data[field:field + 4] = bytes(4)
    patch(path, at + field, struct.pack(">I", ~sum(data) & 0xffffffff))


class Exhaustion(Case):
    def measured(self, *words):
        """Exit code, what was said, and the most memory that it had."""
        done = subprocess.Popen([VHDTOOL, *map(str, words)], stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, preexec_fn=limited)
        errors = done.stderr.read().decode("utf-8", "replace")
        done.stderr.close()
        _, status, usage = os.wait4(done.pid, 0)
        done.returncode = os.waitstatus_to_exitcode(status)
        return done.returncode, errors, usage.ru_maxrss * KIB

    def survives(self, path, codes=ORDERLY, verbs=("info", "check", "map", "dump", "convert")):
        before = os.stat(path).st_size
        for verb in verbs:
            words = [verb, path]
            if verb == "convert":
                words += [self.path("out.vhdx"), "--overwrite"]
            with self.subTest(verb):
                code, errors, memory = self.measured(*words)
                self.assertIn(code, codes, f"{verb}: {errors}")
                self.assertNotIn("memory", errors)
                self.assertLess(memory, MOST, verb)
        self.assertEqual(os.stat(path).st_size, before)

    def refused(self, path):
        self.survives(path, {REFUSED}, ("info", "map", "convert"))
        self.survives(path, {REFUSED, DIFFERENT}, ("check",))
        self.survives(path, ORDERLY, ("dump",))

    def metadata_at(self, path):
        with open(path, "rb") as file:
            file.seek(192 * KIB)
            table = file.read(64 * KIB)
        known = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
        return struct.unpack_from("<Q", table, table.index(known, 16) + 16)[0]

    def item(self, path, guid):
        """Where the entry of a metadata item is, and its item."""
        base = self.metadata_at(path)
        with open(path, "rb") as file:
            file.seek(base)
            table = file.read(64 * KIB)
        at = table.index(bytes.fromhex(guid), 32)
        return base + at, base + struct.unpack_from("<I", table, at + 16)[0]

    def test_the_largest_disks_are_read(self):
        self.survives(self.create("a.vhdx", "64T", "--block-size", "1M"), {OK})
        self.survives(self.create("a.vhd", "2040G", "--block-size", "512K"), {OK})

    def test_a_disk_of_64_tib_in_a_file_of_some_mib(self):
        path = self.create("a.vhdx", 64 * MIB, "--block-size", "1M")
        _, size = self.item(path, "2442a52f1bcd7648b2115dbed83bf4b8")
        patch(path, size, struct.pack("<Q", 64 * TIB))
        self.refused(path)

    def test_a_log_of_4_gib(self):
        for length in (0xfff00000, 2 * GIB, 256 * MIB):
            path = self.create(f"{length}.vhdx", 64 * MIB)
            for at in (64 * KIB, 128 * KIB):
                patch(path, at + 48, os.urandom(16))  # LogGuid: there is something to be replayed
                patch(path, at + 68, struct.pack("<I", length))
                seal(path, at, 4096)
            os.truncate(path, 8 * GIB)
            self.survives(path)

    def test_2047_regions_and_items(self):
        path = self.create("regions.vhdx", 64 * MIB)
        for at in (192 * KIB, 256 * KIB):
            entries = b"".join(os.urandom(16) + struct.pack("<QII", (i + 4) * MIB, MIB, 0)
                               for i in range(2047))
            with open(path, "rb") as file:
                file.seek(at + 16)
                known = file.read(64)
            patch(path, at + 8, struct.pack("<I", 2047))
            patch(path, at + 16, known + entries[64:])
            seal(path, at, 64 * KIB)
        self.survives(path)
        path = self.create("items.vhdx", 64 * MIB)
        base = self.metadata_at(path)
        patch(path, base + 10, struct.pack("<H", 2047))
        self.refused(path)

    def test_items_and_locators_of_2_gib(self):
        base = self.create("base.vhdx", 64 * MIB)
        child = self.path("child.vhdx")
        self.run_tool("create", child, "--parent", base)
        entry, locator = self.item(child, "2d5fd3a80bb34d45abf7d3d84834ab0c")
        patch(child, entry + 20, struct.pack("<I", 0x80000000))
        self.refused(child)
        patch(child, entry + 20, struct.pack("<I", 64 * KIB))
        patch(child, locator + 18, struct.pack("<H", 0xffff))
        self.refused(child)

    def test_blocks_that_are_all_in_one_place_or_nowhere(self):
        for name, value in (("one.vhdx", 8 << 20 | 6), ("far.vhdx", (1 << 63) | 6),
                            ("states.vhdx", 7)):
            path = self.create(name, 4 * TIB, "--block-size", "1M")
            with open(path, "rb") as file:
                file.seek(192 * KIB)
                table = file.read(64 * KIB)
            known = bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")
            place = struct.unpack_from("<Q", table, table.index(known, 16) + 16)[0]
            patch(path, place, struct.pack("<Q", value) * 100_000)
            self.survives(path)

    def test_a_file_as_large_as_files_become(self):
        for name in ("a.vhdx", "a.vhd"):
            path = self.create(name, 64 * MIB)
            for size in (1 << 62, 1 << 44, 1 << 43):
                try:
                    os.truncate(path, size - 4096)
                    break
                except OSError as failed:
                    self.assertIn(failed.errno, (errno.EFBIG, errno.EINVAL))
            self.survives(path)

    def test_tables_and_blocks_of_vhd(self):
        for field, value in ((28, 0xffffffff), (28, 0x7fffffff), (32, 0x80000000), (32, 0x200)):
            path = self.create(f"{field}-{value}.vhd", 64 * MIB)
            patch(path, 512 + field, struct.pack(">I", value))
            sum_vhd(path, 512, 1024, 36)
            self.refused(path)
        path = self.create("far.vhd", 64 * MIB)
        patch(path, 512 + 16, struct.pack(">Q", (1 << 63) - 512))
        sum_vhd(path, 512, 1024, 36)
        self.refused(path)

    def test_locators_of_vhd(self):
        base = self.create("base.vhd", 64 * MIB)
        child = self.path("child.vhd")
        self.run_tool("create", child, "--parent", base)
        for i in range(8):
            patch(child, 512 + 576 + 24 * i,
                  struct.pack(">4sIIIQ", b"W2ru", 0xffffffff, 0xfffffffe, 0, 2048))
        sum_vhd(child, 512, 1024, 36)
        self.refused(child)

    def test_a_chain_that_is_too_deep(self):
        path = self.create("0.vhdx", 4 * MIB)
        for i in range(1, 66):
            child = self.path(f"{i}.vhdx")
            done = self.run_tool("create", child, "--parent", path, code=None)
            if done.code != OK:
                self.assertEqual((done.code, i), (REFUSED, 64), done.err)
                break
            path = child
        else:
            self.fail("a chain of 66 files was made")
        self.survives(path, {OK})


if __name__ == "__main__":
    unittest.main()
