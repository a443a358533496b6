#!/usr/bin/env python3
"""What fails names the right file, place and rule, and leaves nothing half made."""

import os
import re
import shutil
import signal
import subprocess
import unittest

from program import CANCELLED, Case, GIB, KIB, MIB, REFUSED, VHDTOOL, bytes_of

# Where vhdtool puts the tables of a new image: [MS-VHDX] 2.5, VHD "Block Allocation Table".
VHDX_BAT, VHD_BAT = 3 * MIB, 1536


def damage(path, at, data):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def break_open(path):
    """So that the image does not open: both region tables, or the dynamic header."""
    if path.endswith("vhdx"):
        damage(path, 192 * KIB + 100, b"\xff")
        damage(path, 256 * KIB + 100, b"\xff")
        return 0x30000
    damage(path, 512 + 100, b"\xff")
    return 0x200


def break_table(path, block):
    """So that the image opens, and reading `block` fails: its entry leads past the end."""
    if path.endswith("vhdx"):
        at = VHDX_BAT + 8 * block
        damage(path, at, ((900 << 40) | 6).to_bytes(8, "little"))
    else:
        at = VHD_BAT + 4 * block
        damage(path, at, b"\x70\x00\x00\x00")
    return at


class Broken(Case):
    """A conversion whose source cannot be read."""

    def image(self, name):
        options = ("--block-size", "1M") if name.endswith("x") else ()
        path = self.create(name, 64 * MIB, *options)
        self.io(path, "write -P 5 0 40M")
        return path

    def child_of(self, base, name):
        path = self.path(name)
        self.run_tool("create", path, "--parent", base)
        self.io(path, "write -P 6 1M 4K")
        return path

    def refused(self, source, culprit, at, options=()):
        """Every kind of target is refused with one line about `culprit`, and none stays."""
        before = sorted(os.listdir(self.folder))
        for name, more in (("t.vhdx", ()), ("t.vhd", ()), ("t.raw", ("--to", "raw")),
                           ("t.vhdx", ("--no-reflink", "--type", "fixed"))):
            outcome = self.run_tool("convert", source, self.path(name), *more, *options,
                                    code=REFUSED)
            line = outcome.err.splitlines()[-1]
            self.assertRegex(line, rf"^vhdtool: {re.escape(culprit)}: ")
            if at is not None:
                self.assertIn(f": {at:#x}: ", line)
            self.assertRegex(line, r"\(.*\b[XVC][0-9]+\b.*\)")
            self.assertEqual(sorted(os.listdir(self.folder)), before)
            failure = self.run_tool("convert", source, self.path(name), *more, *options, "--json",
                                    code=REFUSED).json()["error"]
            self.assertEqual(failure["file"], culprit)
            self.assertEqual(failure["exit_code"], REFUSED)

    def test_a_source_that_does_not_open_is_named(self):
        for name in ("a.vhdx", "a.vhd"):
            with self.subTest(name):
                path = self.image(name)
                self.refused(path, path, break_open(path))

    def test_a_source_that_breaks_on_the_way_is_named_and_its_target_goes(self):
        for name, block in (("a.vhdx", 30), ("a.vhd", 15)):
            with self.subTest(name):
                path = self.image(name)
                self.refused(path, path, break_table(path, block))

    def test_a_parent_is_named_and_not_its_child(self):
        for ending, block in (("vhdx", 30), ("vhd", 15)):
            with self.subTest(ending):
                base = self.image(f"base.{ending}")
                child = self.child_of(base, f"child.{ending}")
                good = self.path(f"good.{ending}")
                os.rename(base, good)
                for breaks in (break_open, lambda path: break_table(path, block)):
                    with open(good, "rb") as source, open(base, "wb") as copy:
                        copy.write(source.read())
                    self.refused(child, base, breaks(base))

    def test_a_missing_parent_is_told_of_its_child_unless_named(self):
        for ending in ("vhdx", "vhd"):
            with self.subTest(ending):
                base = self.image(f"base.{ending}")
                child = self.child_of(base, f"child.{ending}")
                os.remove(base)
                self.refused(child, child, None)


class Interrupted(Case):
    def test_writing_extents_shows_progress_and_stops_at_the_first_signal(self):
        size = 8 * GIB
        if shutil.disk_usage(self.folder).free < size + 2 * GIB:
            self.skipTest("needs 10 GiB")
        old = self.create("old.vhd", 20 * MIB)
        before = bytes_of(old)
        for number, name, more in ((signal.SIGINT, "a.vhd", ()), (signal.SIGTERM, "a.vhdx", ()),
                                   (signal.SIGINT, "old.vhd", ("--overwrite",))):
            with self.subTest(f"{number} {name}"):
                terminal, other_end = os.openpty()
                with subprocess.Popen([VHDTOOL, "create", self.path(name), "--size", str(size),
                                       "--type", "fixed", "--no-sparse", *more],
                                      stdout=subprocess.DEVNULL, stderr=other_end) as process:
                    os.close(other_end)
                    drawn = b""
                    while b"8 GiB" not in drawn:
                        drawn += os.read(terminal, 4096)
                    process.send_signal(number)
                    self.assertEqual(process.wait(timeout=20), CANCELLED)
                os.close(terminal)
                self.assertIn(b"create  ", drawn)
                self.assertEqual(os.listdir(self.folder), ["old.vhd"])
                self.assertEqual(bytes_of(old), before)


if __name__ == "__main__":
    unittest.main()
