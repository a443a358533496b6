#!/usr/bin/env python3
"""compact, as users run it."""

import os
import unittest

from program import Case, MIB, NOT_FOUND, REFUSED, USAGE, bytes_of


class Compact(Case):
    KINDS = ("vhdx", "vhd")

    def punched(self, name):
        """60 MiB of pattern, of which every other MiB is zeros or trimmed."""
        path = self.create(name, 64 * MIB, "--block-size", "1M")
        self.io(path, "write -P 7 0 60M")
        self.io(path, *[f"discard {m}M 1M" for m in range(1, 40, 4)])
        self.io(path, *[f"write -P 0 {m}M 1M" for m in range(3, 40, 4)])
        return path

    def test_what_it_holds_stays_and_the_file_is_shorter(self):
        for ending in self.KINDS:
            for mode, zero_blocks in (("quick", 0), ("zeroes", 10), ("full", 10)):
                with self.subTest(f"{ending} {mode}"):
                    path = self.punched(f"{mode}.{ending}")
                    before, size = self.raw_of(path), os.path.getsize(path)
                    image = bytes_of(path)
                    told = self.run_tool("compact", path, "--mode", mode, "--dry-run",
                                         "--json").json()
                    self.assertEqual(bytes_of(path), image)
                    self.assertTrue(told.pop("dry_run"))
                    done = self.run_tool("compact", path, "--mode", mode, "--json").json()
                    self.assertFalse(done.pop("dry_run"))
                    self.assertEqual(done, told)
                    self.assertEqual(done["zero_blocks"], zero_blocks)
                    self.assertEqual(done["file_size_before"], size)
                    self.assertEqual(done["file_size_after"], os.path.getsize(path))
                    if mode != "zeroes":
                        self.assertLess(os.path.getsize(path), size - (10 + zero_blocks - 1) * MIB)
                    self.assertEqual(self.raw_of(path), before)
                    self.run_tool("check", path)
                    self.assertIn("stays", self.run_tool("compact", path, "--mode", mode).out)

    def test_children_stay_valid(self):
        for ending in self.KINDS:
            with self.subTest(ending):
                parent = self.punched(f"p.{ending}")
                child = self.path(f"c.a{ending}")
                self.run_tool("create", child, "--type", "differencing", "--parent", parent)
                self.io(child, "write -P 9 20M 3M", "write -P 0 0 2M", "zero 8M 4M")
                before = self.raw_of(child)
                self.run_tool("compact", child)
                self.assertEqual(self.raw_of(child), before)
                self.run_tool("compact", parent)
                self.assertEqual(self.raw_of(child), before)
                self.run_tool("check", "--chain", child)

    def test_what_cannot_be_compacted_is_left_alone(self):
        for ending in self.KINDS:
            fixed = self.create(f"f.{ending}", 8 * MIB, "--type", "fixed")
            before = bytes_of(fixed)
            self.run_tool("compact", fixed, code=REFUSED)
            self.assertEqual(bytes_of(fixed), before)
        self.run_tool("compact", self.path("gone.vhdx"), code=NOT_FOUND)
        self.run_tool("compact", fixed, "--mode", "thorough", code=USAGE)


if __name__ == "__main__":
    unittest.main()
