#!/usr/bin/env python3
"""Every rule of style_check.py reports a tree that breaks it, and passes one that does not."""

import os
import tempfile
import unittest

import style_check

GOOD = {
    "lib/CMakeLists.txt": "${PROJECT_SOURCE_DIR}/include/openvhd/disk.hpp\n",
    "include/openvhd/disk.hpp": "#pragma once\n#include <openvhd/disk.hpp>\n#include <vector>\n",
    "lib/io/file.cpp": '#include <fcntl.h>\n#include "base/fd.hpp"\n',
    "lib/vhdx/log.cpp": '#include "io/file.hpp"\n#include "vhdx/log.hpp"\n',
    "tools/vhdtool/main.cpp": "#include <openvhd/disk.hpp>\n",
}


class StyleCheck(unittest.TestCase):
    def violations(self, rule, changes):
        with tempfile.TemporaryDirectory() as root:
            for path, text in {**GOOD, **changes}.items():
                os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8", newline="") as file:
                    file.write(text)
            paths = style_check.files_of(root)
            return [text for _, _, text in style_check.RULES[rule](root, paths)]

    def test_a_good_tree_passes(self):
        for rule in style_check.RULES:
            self.assertEqual(self.violations(rule, {}), [])

    def test_text(self):
        for text, expected in (
                ("a\n" * 601, "lines"), ("a" * 101 + "\n", "columns"), ("a \n", "blank"),
                ("\ta\n", "tab"), ("a\r\n", "carriage"), ("a", "newline"),
                ("x = /" + "work/x\n", "one machine"), ("see issue" + " 7\n", "one tracker")):
            found = self.violations("text", {"lib/io/a.cpp": text})
            self.assertEqual(len(found), 1, f"{text[:20]!r}: {found}")
            self.assertIn(expected, found[0])

    def test_headers(self):
        for path, text, expected in (
                ("include/openvhd/new.hpp", "#pragma once\n", "not installed"),
                ("include/openvhd/disk.hpp", "#pragma once\n#define A 1\n", "macro"),
                ("include/openvhd/disk.hpp", "#pragma once\n#include <liburing.h>\n", "liburing"),
                ("include/openvhd/disk.hpp", '#pragma once\n#include "io/file.hpp"\n', "io/file"),
                ("lib/io/file.hpp", "int f();\n", "pragma")):
            found = self.violations("headers", {path: text})
            self.assertEqual(len(found), 1, f"{text!r}: {found}")
            self.assertIn(expected, found[0])

    def test_rooms(self):
        for path, include in (("lib/base/a.cpp", "io/file.hpp"), ("lib/vhd/a.cpp", "vhdx/log.hpp"),
                              ("lib/io/a.cpp", "image/ops.hpp"), ("tools/x/a.cpp", "io/file.hpp"),
                              ("hypervisor/kvm/a.cpp", "chipset/bus.hpp"),
                              ("hypervisor/control/a.cpp", "vhdx/log.hpp")):
            self.assertEqual(len(self.violations("rooms", {path: f'#include "{include}"\n'})), 1)

    def test_seam(self):
        for header in ("unistd.h", "sys/stat.h", "liburing.h"):
            found = self.violations("seam", {"lib/image/a.cpp": f"#include <{header}>\n"})
            self.assertEqual(len(found), 1, header)


if __name__ == "__main__":
    unittest.main()
