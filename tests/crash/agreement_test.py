#!/usr/bin/env python3
"""The checker in Python about a sample of crash states that the one in C++ found sound: it must
find them sound too, and read the same bytes (RELIABILITY T01, T02).

CRASH_LAB names the program; OPENVHD_SAMPLE is how many states of each workload.
"""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "checker"))

CHECKER = os.path.join(HERE, "..", "checker", "vhdcheck.py")
WARNINGS = 1


class Agreement(unittest.TestCase):
    def test_both_checkers_say_and_read_the_same(self):
        count = os.environ.get("OPENVHD_SAMPLE", "4")
        with tempfile.TemporaryDirectory() as folder:
            listing = subprocess.run([os.environ["CRASH_LAB"], "sample", "--count", count, folder],
                                     check=True, stdout=subprocess.PIPE, text=True).stdout
            states = [line.split() for line in listing.splitlines()]
            self.assertGreater(len(states), 40)
            read = sum(self.judge(path, name) for path, name in states)
            self.assertGreater(read, len(states) // 3)
            print(len(states), "states,", read, "of them read whole")

    def judge(self, path, name):
        base = os.path.splitext(path)[0]
        whole = os.path.exists(base + ".raw")
        options = ["--contents", base + ".python"] if whole else []
        done = subprocess.run([sys.executable, CHECKER, "--no-chain", "--quiet", *options, path],
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        self.assertLessEqual(done.returncode, WARNINGS, f"{name}: {done.stdout}")
        if not whole:
            return 0
        with open(base + ".raw", "rb") as ours, open(base + ".python", "rb") as theirs:
            self.assertEqual(ours.read(), theirs.read(), name)
        return 1


if __name__ == "__main__":
    unittest.main()
