#!/usr/bin/env python3
"""Every verb that reads stands every image of the corpus: no crash, no hang, no byte changed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

from program import Case, DIFFERENT, OK, REFUSED

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CORPUS = os.environ.get("OPENVHD_CORPUS") or os.path.join(SOURCE, "..", "shared", "corpus")
SKIPPED = 77  # CTest's SKIP_RETURN_CODE
READERS = (("info",), ("info", "--chain", "--json"), ("map",), ("map", "--json"), ("dump",),
           ("dump", "--json"), ("check", "--json"), ("check", "--chain"), ("replay", "--dry-run"))


def state_of(folder):
    """Every file with what a write to it would change."""
    found = {}
    for name in os.listdir(folder):
        status = os.stat(os.path.join(folder, name))
        found[name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return found


class Stand(Case):
    def unpack(self, entry, path):
        subprocess.run(["zstd", "-q", "-d", "-f", "--sparse", os.path.join(CORPUS, entry["file"]),
                        "-o", path], check=True)

    def test_every_image(self):
        with open(os.path.join(CORPUS, "MANIFEST.json"), encoding="utf-8") as file:
            entries = {entry["id"]: entry for entry in json.load(file)["entries"]}
        for entry in entries.values():
            folder = tempfile.mkdtemp(dir=self.folder)
            path = os.path.join(folder, os.path.basename(entry["unpacked_name"]))
            self.unpack(entry, path)
            for companion in entry.get("companions", ()):
                self.unpack(entries[companion["id"]], os.path.join(folder, companion["as"]))
            before = state_of(folder)
            for verb, *options in READERS:
                with self.subTest(f"{verb} {options} {entry['id']}"):
                    outcome = self.run_tool(verb, path, *options, code=None)
                    self.assertIn(outcome.code, (OK, DIFFERENT, REFUSED), outcome.err)
                    if "--json" in options:
                        outcome.json()
            self.assertEqual(state_of(folder), before, entry["id"])
            shutil.rmtree(folder)


if __name__ == "__main__":
    if not os.path.exists(os.path.join(CORPUS, "MANIFEST.json")) or not shutil.which("zstd"):
        print(f"skipped: no corpus at {CORPUS} (set OPENVHD_CORPUS), or no zstd")
        sys.exit(SKIPPED)
    unittest.main()
