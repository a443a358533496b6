#!/usr/bin/env python3
"""vhdvmm as users run it: what it refuses, and how."""

import json
import os
import subprocess
import unittest

VHDVMM = os.environ["VHDVMM"]


def run(*words):
    return subprocess.run([VHDVMM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, timeout=60, check=False)


class Usage(unittest.TestCase):
    def test_help_lists_verbs_and_exit_codes(self):
        done = run("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("doctor", done.stdout)
        self.assertIn("130  Stopped by SIGINT", done.stdout)

    def test_wrong_words_are_one_line_and_code_3(self):
        for words in ((), ("dance",), ("doctor", "--fast")):
            done = run(*words)
            self.assertEqual(done.returncode, 3, words)
            self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
            self.assertTrue(done.stderr.startswith("vhdvmm: "), done.stderr)

    def test_doctor_is_the_same_in_json(self):
        text, document = run("doctor"), run("doctor", "--json")
        self.assertEqual(text.returncode, document.returncode)
        report = json.loads(document.stdout)
        self.assertEqual(report["can_run"], document.returncode == 0)
        for finding in report["findings"]:
            self.assertIn(finding["what"], text.stdout)
            if finding["state"] == "missing":
                self.assertTrue(finding["advice"], finding)


if __name__ == "__main__":
    unittest.main()
