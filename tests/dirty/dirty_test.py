#!/usr/bin/env python3
"""A VHDX with a log to replay opens for reading everywhere, and not a byte of it changes.

    dirty_test.py VHDTOOL

The image is one of ours, left by a process that ended without closing it, before anything was
written in place: what was flushed is in its log only. Every verb that reads must show it; the same
holds when it is a parent. A writable open then replays it into the file, once.
"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

TOOL = None
MIB = 1 << 20
WRITES = ["write -P 17 0 65536", "write -P 34 5242880 1048576", "zero 16384 4096", "flush"]


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def expected():
    disk = bytearray(16 * MIB)
    disk[0:65536] = b"\x11" * 65536
    disk[5 * MIB:6 * MIB] = b"\x22" * MIB
    disk[16384:20480] = bytes(4096)
    return hashlib.sha256(disk).hexdigest()


class DirtyTest(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="openvhd-dirty-")
        self.addCleanup(scratch.cleanup)
        self.folder = scratch.name
        self.image = self.path("dirty.vhdx")
        self.tool("create", self.image, "--size", "16M", "--block-size", "1M")
        commands = [argument for text in WRITES for argument in ("-c", text)]
        self.tool("io", self.image, "--crash-after", str(len(WRITES)), *commands, codes=None)
        self.before = self.state(self.image)
        self.assertEqual(self.info(self.image)["log"]["state"], "dirty")

    def path(self, name):
        return os.path.join(self.folder, name)

    def tool(self, *arguments, codes=(0,)):
        done = subprocess.run([TOOL, *arguments], stdin=subprocess.DEVNULL, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if codes is not None:
            self.assertIn(done.returncode, codes, done.stderr)
        return done.stdout

    def info(self, path):
        return json.loads(self.tool("info", path, "--json"))["layers"][0]

    @staticmethod
    def state(path):
        status = os.stat(path)
        return sha256_of(path), status.st_mtime_ns, status.st_ctime_ns

    def contents(self, path):
        copy = self.path("copy.raw")
        self.tool("convert", path, copy, "--to", "raw")
        digest = sha256_of(copy)
        os.unlink(copy)
        return digest

    def unchanged(self):
        self.assertEqual(self.state(self.image), self.before)

    def test_every_reading_verb_shows_what_was_flushed_and_writes_nothing(self):
        self.assertEqual(self.contents(self.image), expected())
        mapped = json.loads(self.tool("map", self.image, "--json"))
        data = [e for e in mapped["extents"] if e["kind"] == "data"]
        self.assertTrue(any(e["offset"] <= 5 * MIB < e["offset"] + e["length"] for e in data))
        self.tool("check", self.image, codes=(0, 1))
        self.tool("dump", self.image)
        self.tool("replay", self.image, "--dry-run")
        self.tool("compare", self.image, self.image)
        self.tool("io", self.image, "-r", "-c", "read -P 34 5242880 1048576")
        self.unchanged()

    def test_it_serves_as_a_parent_without_being_replayed_in_place(self):
        child = self.path("child.vhdx")
        self.tool("create", child, "--type", "differencing", "--parent", self.image)
        self.assertEqual(self.contents(child), expected())
        self.tool("info", child, "--chain")
        self.tool("check", child, "--chain", codes=(0, 1))
        self.tool("io", child, "-c", "write -P 1 0 512", "-c", "read -P 17 512 15872")
        self.unchanged()

    def test_a_writable_open_replays_it_once(self):
        self.tool("replay", self.image)
        self.assertEqual(self.info(self.image)["log"]["state"], "clean")
        self.assertEqual(self.contents(self.image), expected())
        self.tool("check", self.image)
        replayed = self.state(self.image)
        self.tool("replay", self.image)
        self.assertEqual(self.state(self.image), replayed)


if __name__ == "__main__":
    TOOL = os.path.abspath(sys.argv.pop(1))
    unittest.main()
