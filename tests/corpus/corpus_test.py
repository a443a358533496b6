#!/usr/bin/env python3
"""Images that other software wrote, and damaged copies of them, through vhdtool.

    corpus_test.py VHDTOOL [ID ...]

The corpus is looked for in $OPENVHD_CORPUS, then beside the source tree in ../shared/corpus.
What opens must read as recorded; what must be rejected is refused with exit code 2 and one line
that names the rule, within 1 s of processor time and 64 MiB, and nothing is written anywhere.
Exit code 77: there is no corpus here.
"""
import concurrent.futures
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
REFUSED = 2
MOST_SECONDS = 1.0
MOST_BYTES = 64 << 20


def find_corpus():
    places = [os.environ.get("OPENVHD_CORPUS"),
              os.path.join(HERE, "..", "..", "..", "shared", "corpus")]
    for place in places:
        if place and os.path.exists(os.path.join(place, "MANIFEST.json")):
            return os.path.abspath(place)
    return None


def sha256_of(path, length=None):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while length is None or length > 0:
            block = file.read(1 << 22 if length is None else min(1 << 22, length))
            if not block:
                break
            digest.update(block)
            if length is not None:
                length -= len(block)
    return digest.hexdigest()


def state_of(folder):
    """Every file of a folder with what a write to it would change."""
    out = {}
    for name in sorted(os.listdir(folder)):
        status = os.stat(os.path.join(folder, name))
        out[name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return out


class Run:
    """One run of vhdtool, with what it used."""

    def __init__(self, tool, *arguments):
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            started = time.monotonic()
            child = subprocess.Popen([tool, *arguments], stdin=subprocess.DEVNULL, stdout=out,
                                     stderr=err)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            self.wall = time.monotonic() - started
            self.code = child.returncode
            self.seconds = usage.ru_utime + usage.ru_stime
            self.bytes = usage.ru_maxrss * 1024
            out.seek(0)
            err.seek(0)
            self.out = out.read().decode("utf-8", "replace")
            self.err = err.read().decode("utf-8", "replace")


class Case:
    def __init__(self, tool, corpus, entries, entry, scratch):
        self.tool, self.corpus, self.entries, self.entry = tool, corpus, entries, entry
        self.folder = os.path.join(scratch, "in", re.sub(r"[^\w.-]", "_", entry["id"]))
        self.target = os.path.join(scratch, "out", os.path.basename(self.folder) + ".raw")
        os.makedirs(self.folder)
        os.makedirs(os.path.dirname(self.target), exist_ok=True)
        self.image = os.path.join(self.folder, entry["unpacked_name"])

    def unpack(self):
        self.put(self.entry, self.image)
        for companion in self.entry.get("companions", []):
            self.put(self.entries[companion["id"]], os.path.join(self.folder, companion["as"]))

    def put(self, entry, path):
        subprocess.run(["zstd", "-q", "-d", "-f", "--sparse", os.path.join(self.corpus,
                       entry["file"]), "-o", path], check=True)

    def options(self):
        """What an operator has to say: a raw parent is never taken on an image's own word."""
        named = []
        for companion in self.entry.get("companions", []):
            if self.entries[companion["id"]]["expectation"] == "raw parent":
                named += ["--raw-parent", os.path.join(self.folder, companion["as"])]
        return named

    def convert(self, *more):
        return Run(self.tool, "convert", self.image, self.target, "--to", "raw", *self.options(),
                   *more)

    def run(self):
        self.unpack()
        before = state_of(self.folder)
        problems = {"opens": self.opens, "must be rejected": self.rejected,
                    "either": self.either}[self.entry["expectation"]]()
        if state_of(self.folder) != before:
            problems.append("the folder of the image changed")
        for name in list(before):
            os.unlink(os.path.join(self.folder, name))
        if os.path.exists(self.target):
            os.unlink(self.target)
        return problems

    def opens(self):
        problems = self.contents()
        for verb in (["info"], ["map"], ["check"]):
            run = Run(self.tool, *verb, self.image, *([] if verb == ["check"] else self.options()))
            wanted = (0, 1) if verb == ["check"] else (0,)
            if run.code not in wanted:
                problems.append("%s: exit code %d: %s" % (verb[0], run.code, run.err.strip()))
        return problems

    def contents(self):
        content = self.entry["content"]
        if "sha256" in content:
            return self.whole(content["sha256"])
        first = content["sha256_first_bytes"]
        problems = self.part(0, first, content["sha256_first"])
        for extent in content.get("extents", []):
            problems += self.part(extent["offset"], extent["length"], extent["sha256"])
        return problems

    def whole(self, wanted):
        run = self.convert()
        if run.code != 0:
            return ["convert: exit code %d: %s" % (run.code, run.err.strip())]
        got = sha256_of(self.target)
        return [] if got == wanted else ["contents: sha256 %s, recorded %s" % (got, wanted)]

    def part(self, offset, length, wanted):
        run = self.convert("--offset", str(offset), "--length", str(length))
        if run.code != 0:
            return ["convert at %d: exit code %d: %s" % (offset, run.code, run.err.strip())]
        got = sha256_of(self.target)
        os.unlink(self.target)
        if got == wanted:
            return []
        return ["contents at %d: sha256 %s, recorded %s" % (offset, got, wanted)]

    def rejected(self):
        run = self.convert()
        problems = []
        if run.code != REFUSED:
            problems.append("exit code %d, not %d" % (run.code, REFUSED))
        if os.path.exists(self.target):
            problems.append("a target was left behind")
        lines = run.err.strip().splitlines()
        if len(lines) != 1 or self.entry["unpacked_name"].split("/")[-1] not in run.err and \
                self.folder not in run.err:
            problems.append("not one line that names the file: %r" % run.err)
        if not re.search(r"\b([XLVC]\d\d|[a-f]\.\d|\d\.\d)", run.err):
            problems.append("no rule named: %r" % run.err)
        if run.seconds > MOST_SECONDS:
            problems.append("%.2f s of processor time" % run.seconds)
        if run.bytes > MOST_BYTES:
            problems.append("%d MiB of memory" % (run.bytes >> 20))
        return problems

    def either(self):
        run = self.convert()
        if run.code == REFUSED:
            return [] if not os.path.exists(self.target) else ["a target was left behind"]
        if run.code != 0:
            return ["exit code %d: %s" % (run.code, run.err.strip())]
        got = sha256_of(self.target)
        wanted = self.entry["content"]["sha256"]
        return [] if got == wanted else ["contents: sha256 %s, recorded %s" % (got, wanted)]


def main():
    corpus = find_corpus()
    if corpus is None:
        print("skipped: no corpus (set OPENVHD_CORPUS to a folder with a MANIFEST.json)")
        return SKIPPED
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    tool, wanted = os.path.abspath(sys.argv[1]), set(sys.argv[2:])
    with open(os.path.join(corpus, "MANIFEST.json"), encoding="utf-8") as file:
        entries = {e["id"]: e for e in json.load(file)["entries"]}
    chosen = [e for e in entries.values() if e["expectation"] != "raw parent" and
              (not wanted or e["id"] in wanted)]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="openvhd-corpus-") as scratch, \
            concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        cases = [pool.submit(Case(tool, corpus, entries, e, scratch).run) for e in chosen]
        for entry, case in zip(chosen, cases):
            for problem in case.result():
                failed += 1
                print("FAILED %s (%s): %s" % (entry["id"], entry["expectation"], problem))
    print("%d images, %d problems" % (len(chosen), failed))
    return 1 if failed or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
