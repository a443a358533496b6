"""Runs vhdtool as a user would, without a shell, and holds it to what every run promises."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

VHDTOOL = os.environ.get("VHDTOOL", "vhdtool")
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
TIMEOUT = 300  # seconds; a hang is a failure, not a wait

OK, DIFFERENT, REFUSED, USAGE, NOT_FOUND, IO, NO_SPACE, BUSY, READ_ONLY, CANCELLED = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 130)


class Outcome:
    def __init__(self, done):
        self.code = done.returncode
        self.raw = done.stdout
        self.out = done.stdout.decode("utf-8", "replace")
        self.err = done.stderr.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.raw)


class Case(unittest.TestCase):
    """A test with a folder of its own."""

    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="vhdtool-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_tool(self, *arguments, stdin=None, code=OK):
        """Runs and checks the exit code. `stdin` is bytes or a file. A failure must be exactly one
        line on standard error."""
        given = {"input": stdin} if stdin is None or isinstance(stdin, bytes) else {"stdin": stdin}
        done = subprocess.run([VHDTOOL, *map(str, arguments)], timeout=TIMEOUT, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, **given)
        outcome = Outcome(done)
        where = f"vhdtool {' '.join(map(str, arguments))}\n{outcome.out[-2000:]}\n{outcome.err}"
        self.assertGreaterEqual(outcome.code, 0, f"killed by a signal: {where}")
        if code is not None:
            self.assertEqual(outcome.code, code, where)
        if outcome.code not in (OK, DIFFERENT, CANCELLED) and arguments[0] != "check":
            lines = [line for line in outcome.err.splitlines()
                     if not line.startswith("vhdtool: note: ")]
            self.assertEqual(len(lines), 1, where)
            self.assertTrue(lines[0].startswith("vhdtool: "), where)
        return outcome

    def create(self, name, size, *options):
        path = self.path(name)
        self.run_tool("create", path, "--size", size, *options)
        return path

    def io(self, path, *commands, code=OK, options=()):
        words = [word for command in commands for word in ("-c", command)]
        return self.run_tool("io", path, *options, *words, code=code)

    def raw_of(self, path, *options):
        """What the image reads as, through a stream."""
        return self.run_tool("convert", path, "-", *options).raw


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not installed")
