#!/usr/bin/env python3
"""Images that other software wrote, resized and compacted: their contents stay.

    edit_test.py VHDTOOL [ID ...]

Where the corpus is: see corpus_test.py. Copies are changed, then read, and judged by
`vhdtool check` and by the checker of tests/checker. Exit code 77: there is no corpus here.
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import corpus_test  # noqa: E402

CHECKER = os.path.join(HERE, "..", "checker", "vhdcheck.py")
MIB = 1 << 20
MOST_FILE = 256 << 20  # larger ones take too long to copy, and to read so often
MOST_VHD = 2040 << 30  # bytes of the largest disk in a VHD
REFUSED, INVALID = 2, 3


class Edited(corpus_test.Case):
    """One image: every change, and what it reads as after each."""

    def tool_run(self, *arguments):
        return corpus_test.Run(self.tool, *arguments)

    def read(self, length):
        """Digest of the first `length` bytes, or what went wrong."""
        run = self.convert("--offset", "0", "--length", str(length))
        if run.code != 0:
            return "exit code %d: %s" % (run.code, run.err.strip())
        digest = corpus_test.sha256_of(self.target)
        os.unlink(self.target)
        return digest

    def judged(self, before):
        """What is wrong with the image that was not wrong with it before."""
        problems = []
        run = self.tool_run("check", self.image)
        if run.code > before["check"]:
            problems.append("check: exit code %d: %s" % (run.code, run.out.strip()[-300:]))
        done = subprocess.run([sys.executable, CHECKER, self.image], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        if done.returncode > before["checker"]:
            problems.append("checker: exit code %d: %s" % (done.returncode,
                                                           done.stdout.decode()[-300:]))
        return problems

    def states(self):
        done = subprocess.run([sys.executable, CHECKER, self.image], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        return {"check": self.tool_run("check", self.image).code, "checker": done.returncode}

    def changed(self, before, size, words):
        run = self.tool_run(*words)
        name = " ".join([words[0], *words[2:]])
        # What may not be changed (saved state, undo disks, a fixed disk that is to be compacted) is
        # refused in one line.
        if run.code in (REFUSED, 8) and len(run.err.strip().splitlines()) == 1:
            return []
        if run.code != 0:
            return ["%s: exit code %d: %s" % (name, run.code, run.err.strip())]
        problems = ["%s: %s" % (name, problem) for problem in self.judged(before)]
        got = self.read(size)
        if got != before["digest"]:
            problems.append("%s: contents: %s, before %s" % (name, got, before["digest"]))
        return problems

    def too_large(self, before, length):
        """A VHD grows to 2040 GiB and not further: the size is refused, nothing changes."""
        size = before["size"] + 5 * MIB
        run = self.tool_run("resize", self.image, str(size))
        problems = ["too large: %s" % problem for problem in self.judged(before)]
        named = "over 2040 GiB" in run.err and "{:,} bytes".format(size) in run.err
        if run.code != INVALID or not named:
            problems.append("too large: exit code %d: %s" % (run.code, run.err.strip()))
        if self.read(length) != before["digest"]:
            problems.append("too large: the contents changed")
        return problems

    def run(self):
        self.unpack()
        if os.path.getsize(self.image) > MOST_FILE:
            return []
        info = self.tool_run("info", self.image, "--json", *self.options())
        if info.code != 0:
            return ["info: exit code %d" % info.code]
        layer = json.loads(info.out)["layers"][0]
        size = layer["virtual_size"]
        length = min(size, MOST_FILE)
        before = self.states()
        before["digest"], before["size"] = self.read(length), size
        problems = []
        if layer["format"] == "vhd" and size + 5 * MIB > MOST_VHD:
            problems += self.too_large(before, length)
            size -= 5 * MIB  # the rest of this test grows it again
            problems += self.changed(before, length,
                                     ("resize", self.image, str(size), "--force", *self.options()))
        for words in (("compact", self.image, "--mode", "quick"),
                      ("resize", self.image, "+%d" % (5 * MIB), *self.options()),
                      ("compact", self.image),
                      ("resize", self.image, str(size), "--force", *self.options())):
            problems += self.changed(before, length, words)
        for name in os.listdir(self.folder):
            os.unlink(os.path.join(self.folder, name))
        return problems


def main():
    corpus = corpus_test.find_corpus()
    if corpus is None:
        print("skipped: no corpus (set OPENVHD_CORPUS to a folder with a MANIFEST.json)")
        return corpus_test.SKIPPED
    tool, wanted = os.path.abspath(sys.argv[1]), set(sys.argv[2:])
    with open(os.path.join(corpus, "MANIFEST.json"), encoding="utf-8") as file:
        entries = {e["id"]: e for e in json.load(file)["entries"]}
    chosen = [e for e in entries.values() if e["expectation"] == "opens" and
              (not wanted or e["id"] in wanted)]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="openvhd-edit-") as scratch:
        for entry in chosen:
            for problem in Edited(tool, corpus, entries, entry, scratch).run():
                failed += 1
                print("FAILED %s: %s" % (entry["id"], problem), flush=True)
    print("%d images, %d problems" % (len(chosen), failed))
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
