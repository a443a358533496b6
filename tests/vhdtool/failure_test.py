#!/usr/bin/env python3
"""What fails names the right file, place and rule, and leaves nothing half made."""

import os
import re
import resource
import shutil
import signal
import subprocess
import unittest

from program import (CANCELLED, Case, GIB, IO, KIB, MIB, NOT_FOUND, REFUSED, USAGE, VHDTOOL,
                     bytes_of)

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


class Parents(Case):
    def test_a_parent_that_was_named_is_the_one_that_is_told_of(self):
        base = self.create("base.vhdx", 8 * MIB)
        child, leaf = self.path("child.vhdx"), self.path("leaf.vhdx")
        self.run_tool("create", child, "--parent", base)
        self.run_tool("create", leaf, "--parent", child)
        gone = self.path("gone.vhdx")
        for named, culprit, code in (((gone,), gone, NOT_FOUND), ((child, gone), gone, NOT_FOUND),
                                     ((leaf,), leaf, REFUSED), ((child, leaf), leaf, REFUSED),
                                     ((child, base, gone), leaf, USAGE)):
            options = [word for parent in named for word in ("--parent", parent)]
            for words in (("convert", leaf, self.path("t.vhdx")), ("info", "--chain", leaf),
                          ("map", leaf)):
                with self.subTest(f"{named} {words[0]}"):
                    outcome = self.run_tool(*words, *options, code=code)
                    line = outcome.err.splitlines()[-1]
                    self.assertTrue(line.startswith(f"vhdtool: {culprit}: "), line)
        self.assertFalse(os.path.exists(self.path("t.vhdx")))

    def test_a_child_is_not_made_over_its_own_parent_or_one_of_another_format(self):
        base = self.create("base.vhdx", 8 * MIB)
        before = bytes_of(base)
        outcome = self.run_tool("create", base, "--parent", base, "--overwrite", code=USAGE)
        self.assertIn("not its own parent", outcome.err)
        self.assertEqual(bytes_of(base), before)
        outcome = self.run_tool("create", self.path("c.vhd"), "--parent", base, code=USAGE)
        self.assertTrue(outcome.err.startswith(f"vhdtool: {base}: "), outcome.err)
        self.assertIn("another format", outcome.err)


class Combinations(Case):
    def test_options_that_have_no_effect_are_refused(self):
        source = self.create("a.vhdx", 20 * MIB)
        for name, options in (("b.raw", ("--to", "raw", "--type", "dynamic")),
                              ("b.vhd", ("--azure", "--type", "dynamic")),
                              ("b.raw", ("--to", "raw", "--block-size", "1M")),
                              ("b.vhd", ("--type", "fixed", "--block-size", "1M"))):
            with self.subTest(options):
                self.run_tool("convert", source, self.path(name), *options, code=USAGE)
        self.run_tool("create", self.path("b.vhd"), "--size", "1M", "--type", "fixed",
                      "--block-size", "1M", code=USAGE)
        self.assertEqual(os.listdir(self.folder), ["a.vhdx"])


class Surroundings(Case):
    """What a shell or a service may start a program with."""

    def start(self, *words, before):
        return subprocess.run([VHDTOOL, *words], preexec_fn=before, capture_output=True,
                              check=False, timeout=60)

    def test_an_image_is_no_standard_stream(self):
        path = self.create("a.vhdx", 8 * MIB)
        self.io(path, "write -P 0x41 0 64K")
        before = bytes_of(path)
        for closed in ((1,), (2,), (1, 2), (0, 1, 2)):
            with self.subTest(closed):
                done = self.start("io", path, "-c", "read 0 64", "-c", "read 99M 1",
                                  before=lambda streams=closed: [os.close(n) for n in streams])
                self.assertGreaterEqual(done.returncode, USAGE)
                self.assertEqual(bytes_of(path)[:128 * KIB], before[:128 * KIB])
                self.run_tool("check", path)
        done = self.start("convert", "-", self.path("b.vhdx"), before=lambda: os.close(0))
        self.assertEqual(done.returncode, IO)
        self.assertIn(b"Bad file descriptor", done.stderr)
        self.assertEqual(os.listdir(self.folder), ["a.vhdx"])

    @staticmethod
    def files_of_at_most(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    def test_a_limit_on_files_is_an_error_and_not_the_end(self):
        done = self.start("create", self.path("a.vhd"), "--size", "64M", "--type", "fixed",
                          "--no-sparse", before=lambda: self.files_of_at_most(MIB))
        self.assertEqual(done.returncode, IO)
        self.assertRegex(done.stderr, rb"^vhdtool: .*a\.vhd: .*File too large\n$")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_repair_that_cannot_save_what_it_replaces_changes_and_leaves_nothing(self):
        path = self.create("a.vhdx", 8 * MIB)
        damage(path, 64 * KIB + 100, b"\xff")
        before = bytes_of(path)
        for size in (512, 4 * KIB, 6 * KIB):
            with self.subTest(size):
                done = self.start("check", "--repair", path,
                                  before=lambda limit=size: self.files_of_at_most(limit))
                self.assertEqual(done.returncode, IO)
                self.assertIn(b"a.vhdx.undo: ", done.stderr)
                self.assertEqual(bytes_of(path), before)
                self.assertEqual(os.listdir(self.folder), ["a.vhdx"])
        self.run_tool("check", "--repair", path)


@unittest.skipUnless(os.geteuid() == 0 and shutil.which("losetup"), "needs loop devices")
class Device(Case):
    def device(self, size):
        path = self.path("backing")
        with open(path, "wb") as file:
            file.write(b"\x55" * size)
        done = subprocess.run(["losetup", "-f", "--show", path], capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest("no loop device")
        name = done.stdout.decode().strip()
        self.addCleanup(subprocess.run, ["losetup", "-d", name], check=False)
        return name

    def content(self, device):
        with open(device, "rb") as file:
            return file.read()

    def test_no_image_is_made_on_a_device(self):
        device = self.device(MIB)
        for form in ("vhd", "vhdx"):
            outcome = self.run_tool("create", device, "--format", form, "--size", "1M",
                                    "--overwrite", code=USAGE)
            self.assertIn("block device", outcome.err)
        self.assertEqual(self.content(device), b"\x55" * MIB)

    def test_a_stream_ends_in_zeros_on_a_device_too(self):
        device = self.device(MIB)
        self.run_tool("convert", "-", device, "--to", "raw", "--overwrite", stdin=b"\x01" * 1000)
        self.assertEqual(self.content(device), b"\x01" * 1000 + bytes(24) + b"\x55" * (MIB - 1024))


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
