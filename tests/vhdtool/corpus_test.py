#!/usr/bin/env python3
"""Images that other programs wrote, and damaged ones: converted exactly, or refused by name."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from program import KIB, MIB, VHDTOOL

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CORPUS = os.environ.get("OPENVHD_CORPUS") or os.path.join(SOURCE, "..", "shared", "corpus")
SKIPPED = 77  # CTest's SKIP_RETURN_CODE
MAX_SECONDS = 1.0
MAX_PEAK = 64 * MIB


def manifest():
    with open(os.path.join(CORPUS, "MANIFEST.json"), encoding="utf-8") as file:
        return json.load(file)["entries"]


def hash_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(4 * MIB):
            digest.update(chunk)
    return digest.hexdigest()


class Limited:
    """One run, with the processor time and the memory it took."""

    def __init__(self, arguments, stdout=subprocess.PIPE):
        self.process = subprocess.Popen([VHDTOOL, *arguments], stdout=stdout,
                                        stderr=subprocess.PIPE)

    def finish(self):
        self.out = self.process.stdout.read() if self.process.stdout else b""
        self.err = self.process.stderr.read().decode("utf-8", "replace")
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = self.code = os.waitstatus_to_exitcode(status)
        # Processor time: that of the clock is the business of whatever else runs here.
        self.seconds = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss * KIB
        return self


class Corpus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.entries = manifest()
        cls.by_id = {entry["id"]: entry for entry in cls.entries}
        cls.folder = tempfile.mkdtemp(prefix="vhdtool-corpus-")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder, ignore_errors=True)

    def unpack(self, entry, folder, name):
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            subprocess.run(["zstd", "-q", "-d", "--sparse", os.path.join(CORPUS, entry["file"]),
                            "-o", path], check=True)
        return path

    def image(self, entry):
        """Unpacks an image and its companions into a folder of their own."""
        folder = tempfile.mkdtemp(dir=self.folder)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        path = self.unpack(entry, folder, entry["unpacked_name"])
        for companion in entry.get("companions", ()):
            self.unpack(self.by_id[companion["id"]], folder, companion["as"])
        return path

    def parents(self, entry):
        """A raw parent cannot be verified: it has to be named."""
        for companion in entry.get("companions", ()):
            if self.by_id[companion["id"]]["expectation"] == "raw parent":
                return [f"--raw-parent={os.path.join(os.path.dirname(self.path), companion['as'])}"]
        return []

    def contents(self, entry, options):
        """The hash of what convert streams out, and how long it was."""
        content = entry["content"]
        part = content.get("sha256_first_bytes")
        words = ["convert", self.path, "-", *options] + (["--length", str(part)] if part else [])
        run = Limited(words)
        digest, length = hashlib.sha256(), 0
        while chunk := run.process.stdout.read(MIB):
            digest.update(chunk)
            length += len(chunk)
        run.finish()
        self.assertEqual(run.code, 0, run.err)
        self.assertEqual(length, part or entry["facts"]["virtual_size"])
        return digest.hexdigest()

    def test_images_that_open_read_as_recorded(self):
        for entry in self.entries:
            if entry["expectation"] != "opens":
                continue
            with self.subTest(entry["id"]):
                self.path = self.image(entry)
                before = hash_of(self.path)
                content = entry["content"]
                found = self.contents(entry, self.parents(entry))
                self.assertEqual(found, content.get("sha256") or content["sha256_first"])
                info = Limited(["info", "--json", self.path]).finish()
                self.assertEqual(info.code, 0, info.err)
                layer = json.loads(info.out)["layers"][0]
                self.assertEqual(layer["virtual_size"], entry["facts"]["virtual_size"])
                self.assertEqual(layer["format"], entry["facts"]["format"])
                self.assertEqual(hash_of(self.path), before)
                self.doCleanups()

    def test_images_that_must_be_rejected_are_refused_by_name(self):
        for entry in self.entries:
            if entry["expectation"] != "must be rejected":
                continue
            with self.subTest(entry["id"]):
                self.path = self.image(entry)
                before = hash_of(self.path)
                target = self.path + ".raw"
                run = Limited(["convert", self.path, target, "--to", "raw"]).finish()
                self.assertEqual(run.code, 2, run.err)
                lines = run.err.splitlines()
                self.assertEqual(len(lines), 1, run.err)
                self.assertRegex(lines[0], r"^vhdtool: .*: 0x[0-9a-f]+: \S+ .*\S")
                self.assertFalse(os.path.exists(target))
                self.assertEqual(hash_of(self.path), before)
                self.assertLess(run.seconds, MAX_SECONDS)
                self.assertLess(run.peak, MAX_PEAK)
                checked = Limited(["check", "--chain", self.path]).finish()
                self.assertIn(checked.code, (1, 2), checked.err)
                self.assertEqual(hash_of(self.path), before)
                self.doCleanups()

    def test_the_others_are_refused_or_served_as_recorded(self):
        for entry in self.entries:
            if entry["expectation"] != "either":
                continue
            with self.subTest(entry["id"]):
                self.path = self.image(entry)
                run = Limited(["convert", self.path, "-"]).finish()
                self.assertIn(run.code, (0, 2), run.err)
                if run.code == 0:
                    self.assertEqual(hashlib.sha256(run.out).hexdigest(),
                                     entry["content"]["sha256"])
                self.doCleanups()

    def test_every_verb_stands_every_image(self):
        """No crash, no hang, no byte changed, whatever the image."""
        for entry in self.entries:
            with self.subTest(entry["id"]):
                self.path = self.image(entry)
                before = hash_of(self.path)
                for words in (["info"], ["info", "--chain", "--json"], ["map"], ["dump"],
                              ["check", "--json"], ["replay", "--dry-run"]):
                    run = Limited([words[0], self.path, *words[1:]]).finish()
                    self.assertIn(run.code, (0, 1, 2), f"{words}: {run.err}")
                    if "--json" in words:
                        json.loads(run.out)
                    if run.code == 2 and words[0] != "check":
                        self.assertEqual(len(run.err.splitlines()), 1, f"{words}: {run.err}")
                self.assertEqual(hash_of(self.path), before)
                self.doCleanups()


if __name__ == "__main__":
    if not os.path.exists(os.path.join(CORPUS, "MANIFEST.json")) or not shutil.which("zstd"):
        print(f"skipped: no corpus at {CORPUS} (set OPENVHD_CORPUS), or no zstd")
        sys.exit(SKIPPED)
    unittest.main()
