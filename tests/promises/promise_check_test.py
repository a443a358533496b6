#!/usr/bin/env python3
"""promise_check.py reports what it is there for."""

import os
import tempfile
import unittest

import promise_check

SOURCE = "TEST(Suite, Shows) {}\nTEST_P(Other,\n       Too) {}\n"
CMAKE = "add_test(NAME crash.x COMMAND y)\nopenvhd_crash_states(vhd 1)\n"


class PromiseCheck(unittest.TestCase):
    def check(self, changes=None, drop=()):
        lines = {name: "Suite.Shows crash.x" for name in promise_check.expected_ids()}
        lines.update(changes or {})
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "tests/a"))
            for name, text in (("a_test.cpp", SOURCE), ("CMakeLists.txt", CMAKE)):
                with open(os.path.join(root, "tests/a", name), "w", encoding="utf-8") as file:
                    file.write(text)
            text = [f"{name}  {tests}" for name, tests in lines.items() if name not in drop]
            return list(promise_check.violations(root, text))

    def test_all_kinds_of_tests_are_found(self):
        self.assertEqual(self.check({"D1": "Suite.Shows Other.Too crash.x crash.states.vhd"}), [])

    def test_a_test_that_is_gone_orphans_its_promise(self):
        self.assertEqual(self.check({"D2": "Suite.Gone"}), ["D2: there is no test Suite.Gone"])

    def test_an_id_needs_a_line_and_a_line_a_test(self):
        self.assertEqual(self.check(drop=("X07",)), ["X07: no line, so no test shows it"])
        self.assertEqual(self.check({"X07": ""}), ["X07: no test shows it"])

    def test_what_waits_for_a_room_is_due_when_the_room_is_there(self):
        self.assertEqual(self.check({"Q01": "when lib/qos"}), [])
        self.assertEqual(len(self.check({"Q01": "when tests/a"})), 1)

    def test_unknown_ids_are_told(self):
        self.assertEqual(len(self.check({"Z01": "Suite.Shows"})), 1)


if __name__ == "__main__":
    unittest.main()
