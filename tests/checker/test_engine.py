"""vhdtool and this checker about the same images: both must say the same.

VHDTOOL names the program; skipped where it is unset. OPENVHD_CHECKER_SEED varies the random work.
"""
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import violations  # noqa: E402
from imagecheck import contents  # noqa: E402
from imagecheck.chain import Options, open_chain  # noqa: E402
from imagecheck.report import EXIT_CLEAN, EXIT_WARNINGS, exit_code  # noqa: E402
from imagecheck.source import FileSource  # noqa: E402

VHDTOOL = os.environ.get("VHDTOOL")
SEED = int(os.environ.get("OPENVHD_CHECKER_SEED", "0"))
KIB, MIB = 1 << 10, 1 << 20
REFUSED = 2


def run(*arguments):
    """(exit code, standard output) of vhdtool."""
    done = subprocess.run([VHDTOOL, *map(str, arguments)], timeout=120, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout


def judged(path):
    """(exit code, findings as text, chain) of this checker."""
    chain = open_chain(FileSource(path), Options())
    findings = [str(f) for r in chain.reports for f in r.findings if f.severity != "note"]
    return exit_code(chain.reports), findings, chain


@unittest.skipUnless(VHDTOOL, "VHDTOOL does not name the program")
class Agreement(unittest.TestCase):
    """`vhdtool check` on the violating images."""

    def reported(self, path):
        code, out = run("check", "--chain", "--json", path)
        ids = set()
        for image in json.loads(out)["images"]:
            for file in image.get("check", {}).get("files", []):
                ids.update(finding["id"] for finding in file["findings"])
        return code, ids

    def rows(self):
        """Violations that one state of one chain shows, and that need no option."""
        return [v for v in violations.VIOLATIONS if not v.options and not v.build().before]

    def test_both_checkers_agree_on_every_violation(self):
        for violation in self.rows():
            with self.subTest(violation.name), tempfile.TemporaryDirectory() as folder:
                case = violation.build()
                for name, file in case.files.items():
                    file.save(os.path.join(folder, name))
                code, ids = self.reported(os.path.join(folder, case.target.name))
                refused = violation.severity == "error"
                self.assertEqual(code == REFUSED, refused, "exit code %d, %s" % (code, ids))
                self.assertLessEqual(violation.ids, ids)

    def test_both_call_the_undamaged_bases_clean(self):
        seen = set()
        for violation in self.rows():
            if not violation.damage or violation.undamaged in seen:
                continue
            seen.add(violation.undamaged)
            with self.subTest(violation.name), tempfile.TemporaryDirectory() as folder:
                case = violation.undamaged()
                for name, file in case.files.items():
                    file.save(os.path.join(folder, name))
                code, ids = self.reported(os.path.join(folder, case.target.name))
                self.assertNotEqual(code, REFUSED, ids)


# name, size, options of create
KINDS = (
    ("dynamic.vhdx", 37 * MIB, ("--block-size", "1M")),
    ("sectors.vhdx", 19 * MIB, ("--block-size", "2M", "--logical-sector", "4096")),
    ("fixed.vhdx", 6 * MIB, ("--type", "fixed", "--block-size", "1M")),
    ("odd.vhdx", 9 * MIB + 512, ("--log-size", "2M")),
    ("dynamic.vhd", 21 * MIB, ()),
    ("blocks.vhd", 5 * MIB + 512, ("--block-size", "512K")),
    ("fixed.vhd", 3 * MIB, ("--type", "fixed")),
)


class Model:
    """A flat disk beside a script of `vhdtool io` commands."""

    def __init__(self, size, sector, rng):
        self.flat = bytearray(size)
        self.sector = sector
        self.rng = rng

    def commands(self, count):
        """Random commands, already applied to the model."""
        result = []
        for _ in range(count):
            length = self.rng.choice((self.sector, 4 * KIB, 64 * KIB, 700 * KIB))
            length = min(length, len(self.flat)) // self.sector * self.sector
            room = (len(self.flat) - length) // self.sector
            offset = self.rng.randrange(room + 1) * self.sector
            kind = self.rng.random()
            if kind < 0.7:
                pattern = self.rng.randrange(1, 256)
                self.flat[offset:offset + length] = bytes([pattern]) * length
                result.append("write -P %d %d %d" % (pattern, offset, length))
            elif kind < 0.9:
                self.flat[offset:offset + length] = bytes(length)
                result.append("zero %d %d" % (offset, length))
            else:
                result.append("flush")
        return result

    def digest(self):
        return hashlib.sha256(self.flat).hexdigest()


@unittest.skipUnless(VHDTOOL, "VHDTOOL does not name the program")
class Written(unittest.TestCase):
    """Images that vhdtool wrote: clean, and with the contents that went in."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def tool(self, *arguments):
        code, _ = run(*arguments)
        self.assertEqual(code, 0, arguments)

    def io(self, path, commands, *options):
        words = [word for command in commands for word in ("-c", command)]
        self.tool("io", path, *options, *words)

    def assert_holds(self, path, model, worst=EXIT_CLEAN):
        code, findings, chain = judged(path)
        try:
            self.assertLessEqual(code, worst, findings)
            self.assertTrue(chain.complete)
            self.assertEqual(chain.layers[0].size, len(model.flat))
            self.assertEqual(contents.sha256(chain.layers, len(model.flat)), model.digest())
        finally:
            chain.close()

    def create(self, name, size, options, rng):
        path = self.path(name)
        self.tool("create", path, "--size", size, *options)
        return path, Model(size, 4096 if "4096" in options else 512, rng)

    def test_new_images_are_clean(self):
        for name, size, options in KINDS:
            with self.subTest(name):
                path, model = self.create(name, size, options, random.Random(SEED))
                self.assert_holds(path, model)

    def test_written_images_are_clean_after_each_session(self):
        for name, size, options in KINDS:
            with self.subTest(name):
                path, model = self.create(name, size, options, random.Random(SEED))
                for _ in range(4):
                    self.io(path, model.commands(12))
                    self.assert_holds(path, model)

    def test_flushed_writes_are_there_after_a_crash(self):
        """Not closed: a VHDX is dirty then, and this checker replays its log itself."""
        for name, size, options in KINDS:
            with self.subTest(name):
                path, model = self.create(name, size, options, random.Random(SEED))
                for _ in range(3):
                    commands = model.commands(10) + ["flush"]
                    self.io(path, commands, "--crash-after", str(len(commands)))
                    self.assert_holds(path, model, EXIT_WARNINGS)

    def test_children_are_clean_and_read_through(self):
        for name, size, options in KINDS:
            if "fixed" in name:
                continue
            with self.subTest(name):
                rng = random.Random(SEED)
                path, model = self.create(name, size, options, rng)
                self.io(path, model.commands(10))
                for number in range(3):
                    child = self.path("%d-%s" % (number, name))
                    self.tool("create", child, "--parent", path)
                    self.io(child, model.commands(8))
                    self.assert_holds(child, model)
                    path = child

    def test_conversions_keep_the_contents(self):
        path, model = self.create("source.vhdx", 11 * MIB, (), random.Random(SEED))
        self.io(path, model.commands(15))
        for name, options in (("a.vhd", ()), ("b.vhdx", ("--block-size", "1M")),
                              ("c.vhd", ("--type", "fixed")), ("d.vhdx", ("--type", "fixed"))):
            with self.subTest(name):
                target = self.path(name)
                self.tool("convert", path, target, *options)
                self.assert_holds(target, model)
                path = target


if __name__ == "__main__":
    unittest.main()
