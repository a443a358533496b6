#!/usr/bin/env python3
"""merge, rebase and checkpoint as users run them: on files, with locks, signals and peers."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import unittest

from program import (BUSY, CANCELLED, Case, KIB, MIB, NOT_FOUND, REFUSED, USAGE, VHDTOOL, bytes_of,
                     needs)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "corpus"))
from corpus_test import find_corpus  # noqa: E402  pylint: disable=wrong-import-position

KINDS = ("vhdx", "vhd")


F_OFD_SETLK = 37


@contextlib.contextmanager
def held(path):
    """What a writer of ours or of QEMU's looks like to others."""
    with open(path, "r+b") as file:
        lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1 << 30, 0)
        fcntl.fcntl(file, F_OFD_SETLK, lock)
        yield


class Chain(Case):
    """base <- a <- b, with data, zeros and blocks in parts."""

    def chain(self, kind, size=64 * MIB):
        base, a, b = (self.path(f"{name}.{kind}") for name in ("base", "a", "b"))
        self.run_tool("create", base, "--size", size)
        self.io(base, "write -P 1 0 8M", "write -P 2 20M 3M")
        self.run_tool("create", a, "--parent", base)
        self.io(a, "write -P 3 1M 64K", "zero 4M 1M", "write -P 4 30000000 1000")
        self.run_tool("create", b, "--parent", a)
        self.io(b, "write -P 5 7M 4M", "discard 21M 1M", "write -P 6 512 512")
        return base, a, b

    def expect_sound(self, *images):
        """Our check, and the one that shares no code with us."""
        for image in images:
            self.run_tool("check", image)
            done = subprocess.run([sys.executable,
                                   os.path.join(HERE, "..", "checker", "vhdcheck.py"), image],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.assertEqual(done.returncode, 0, done.stdout.decode())

    def sibling(self, kind, parent, name="sibling"):
        path = self.path(f"{name}.{kind}")
        self.run_tool("create", path, "--parent", parent)
        return path


class Merge(Chain):
    def test_one_level_removes_the_child_and_tells_its_children(self):
        for kind in KINDS:
            base, a, b = self.chain(kind)
            before = self.raw_of(b)
            shown = self.run_tool("merge", a, "--json").json()
            self.assertEqual(shown["disk"], base)
            self.assertEqual(shown["removed"], [a])
            self.assertEqual(shown["reparented"], [b])
            self.assertFalse(os.path.exists(a))
            self.assertEqual(self.raw_of(b), before)
            self.expect_sound(base, b)

    def test_many_levels_in_one_pass(self):
        for kind in KINDS:
            base, a, b = self.chain(kind)
            before = self.raw_of(b)
            shown = self.run_tool("merge", b, "--into", base, "--json").json()
            self.assertEqual(sorted(shown["removed"]), sorted([a, b]))
            self.assertEqual(self.raw_of(base), before)
            self.assertEqual(os.listdir(self.folder), [os.path.basename(base)])
            self.expect_sound(base)
            os.unlink(base)

    def test_pull_makes_the_child_independent_and_leaves_parents_alone(self):
        for kind in KINDS:
            base, a, b = self.chain(kind)
            before, parents = self.raw_of(b), (bytes_of(base), bytes_of(a))
            self.run_tool("merge", b, "--pull", "--into", base)
            self.assertEqual(self.raw_of(b), before)
            self.run_tool("merge", b, "--pull")
            self.assertEqual((bytes_of(base), bytes_of(a)), parents)
            os.unlink(base)
            os.unlink(a)
            self.assertEqual(self.raw_of(b), before)
            info = self.run_tool("info", b, "--json").json()
            self.assertEqual(info["layers"][0]["type"], "dynamic")
            self.expect_sound(b)

    def test_a_larger_child_is_refused_and_may_pull(self):
        for kind in KINDS:
            base = self.create(f"base.{kind}", 8 * MIB)
            child = self.path(f"child.{kind}")
            self.run_tool("create", child, "--parent", base, "--size", 10 * MIB)
            self.io(child, "write -P 7 9M 4K")
            before = self.raw_of(child)
            outcome = self.run_tool("merge", child, code=REFUSED)
            self.assertIn("larger", outcome.err)
            self.run_tool("merge", child, "--pull")
            self.assertEqual(self.raw_of(child), before)

    def test_siblings_are_refused_unless_given_up(self):
        for kind in KINDS:
            base, a, _ = self.chain(kind)
            other = self.sibling(kind, base)
            kept = bytes_of(base)
            outcome = self.run_tool("merge", a, code=REFUSED)
            self.assertIn(other, outcome.err)
            self.assertEqual(bytes_of(base), kept)
            outcome = self.run_tool("merge", a, "--force-siblings")
            self.assertIn(other, outcome.err)
            self.run_tool("info", other, "--chain", code=REFUSED)
            shutil.rmtree(self.folder)
            os.mkdir(self.folder)

    def test_siblings_elsewhere_are_found_where_they_are_looked_for(self):
        base, a, _ = self.chain("vhdx")
        os.mkdir(self.path("elsewhere"))
        other = self.path("elsewhere/other.vhdx")
        self.run_tool("create", other, "--parent", base)
        self.run_tool("merge", a, "--child-dir", self.path("elsewhere"), code=REFUSED)

    def test_what_somebody_has_open_is_not_merged(self):
        for kind in KINDS:
            base, a, b = self.chain(kind)
            for image in (base, a, b):
                with held(image):
                    self.run_tool("merge", a, code=BUSY)
            self.run_tool("merge", a)

    def test_keep_leaves_the_child_over_the_merged_image(self):
        for kind in KINDS:
            base, a, b = self.chain(kind)
            before = self.raw_of(b)
            self.run_tool("merge", b, "--into", base, "--keep")
            self.assertEqual(self.raw_of(b), before)
            self.assertEqual(self.raw_of(base), before)
            layers = self.run_tool("info", b, "--chain", "--json").json()["layers"]
            self.assertEqual(len(layers), 2)
            # What was between is no disk any more.
            self.run_tool("info", a, "--chain", code=REFUSED)
            self.expect_sound(base, b)

    def test_what_cannot_be_merged_is_refused(self):
        base, a, b = self.chain("vhdx")
        self.run_tool("merge", base, code=USAGE)
        self.run_tool("merge", b, "--into", self.sibling("vhdx", base), code=USAGE)
        self.run_tool("merge", a, "--into", a, code=USAGE)
        self.run_tool("merge", self.path("nothing.vhdx"), code=NOT_FOUND)
        self.run_tool("merge", base, "--resume", code=NOT_FOUND)
        self.run_tool("merge", base, "--resume", "--keep", code=USAGE)

    @needs("qemu-img")
    def test_qemu_reads_what_was_merged(self):
        for kind, form in (("vhdx", "vhdx"), ("vhd", "vpc")):
            base, _, b = self.chain(kind)
            before = self.raw_of(b)
            self.run_tool("merge", b, "--into", base)
            raw = self.path("qemu.raw")
            subprocess.run(["qemu-img", "convert", "-f", form, "-O", "raw", base, raw], check=True)
            self.assertEqual(bytes_of(raw), before)
            os.unlink(base)
            os.unlink(raw)


class Interrupted(Chain):
    def large(self, kind):
        base = self.create(f"base.{kind}", 256 * MIB)
        child = self.path(f"child.{kind}")
        self.run_tool("create", child, "--parent", base)
        self.io(child, *[f"write -P {n} {n * 4}M 3M" for n in range(1, 60)])
        return base, child

    def stop(self, child, number, after):
        with subprocess.Popen([VHDTOOL, "merge", child, "--no-reflink"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as running:
            time.sleep(after)
            running.send_signal(number)
            code = running.wait()
        # The kernel may still be at its last transfers, and keep the files, and their locks.
        for _ in range(100):
            if self.run_tool("map", child if os.path.exists(child) else self.path(
                    "base" + os.path.splitext(child)[1]), code=None).code != BUSY:
                break
            time.sleep(0.05)
        return code

    def test_a_killed_merge_reads_the_same_and_goes_on(self):
        for kind in KINDS:
            base, child = self.large(kind)
            before = hashlib.sha256(self.raw_of(child)).digest()
            seconds = 0.01
            for _ in range(10):
                if not os.path.exists(child):
                    break
                self.stop(child, signal.SIGKILL, seconds)
                seconds *= 1.4
                disk = child if os.path.exists(child) else base
                self.assertEqual(hashlib.sha256(self.raw_of(disk)).digest(), before)
            if os.path.exists(child) or os.path.exists(base + ".merge"):
                self.run_tool("merge", child)
            self.assertFalse(os.path.exists(child))
            self.assertEqual(hashlib.sha256(self.raw_of(base)).digest(), before)
            self.expect_sound(base)
            os.unlink(base)

    def test_sigint_leaves_a_record_that_every_verb_names(self):
        base, child = self.large("vhdx")
        before = self.raw_of(child)
        for _ in range(50):
            if self.stop(child, signal.SIGINT, 0.02) == CANCELLED:
                break
            if not os.path.exists(child):
                self.skipTest("too fast to be stopped")
        record = json.loads(bytes_of(base + ".merge"))
        self.assertEqual((record["version"], record["stage"]), (1, "copy"))
        outcome = self.run_tool("info", base)
        self.assertIn("merge", outcome.err)
        outcome = self.io(base, "write -P 1 0 512", code=REFUSED)
        self.assertIn("--resume", outcome.err)
        self.assertEqual(self.raw_of(child), before)
        self.assertIn("C05", self.run_tool("check", base, code=1).out)
        other = self.create("other.vhdx", 256 * MIB)
        for parent in (base, child):
            self.run_tool("create", self.path("new.vhdx"), "--parent", parent, code=REFUSED)
            self.run_tool("rebase", self.sibling("vhdx", other), "--parent", parent, "--unsafe",
                          code=REFUSED)
            os.unlink(self.path("sibling.vhdx"))
        shown = self.run_tool("merge", base, "--resume", "--json").json()
        self.assertTrue(shown["resumed"])
        self.assertEqual(self.raw_of(base), before)

    def test_a_record_of_somebody_else_is_not_followed(self):
        base, child = self.large("vhdx")
        with open(base + ".merge", "w", encoding="utf-8") as record:
            record.write('{"openvhd": "merge", "version": 1, "stage": "remove", "files": ["x"]}')
        self.run_tool("merge", child, code=REFUSED)
        os.chmod(base + ".merge", 0o666)
        outcome = self.run_tool("merge", base, "--resume", code=REFUSED)
        self.assertIn("trusted", outcome.err)


class HalfMerged(Chain):
    """What every verb does with the two images of a merge that found no room for its data."""

    # Words after the verb, and the exit code, for the image that is between two disks. None: the
    # verb takes no such image, or opens it as others here do.
    TARGET = {
        "bench": None,
        "check": (("{}",), 1),
        "checkpoint": (("create", "{}"), REFUSED),
        "compact": (("{}",), REFUSED),
        "compare": (("{}", "{}"), 0),
        "convert": (("{}", "{out}", "--to", "raw", "--overwrite"), 0),
        "create": (("{new}", "--parent", "{}"), REFUSED),
        "dump": (("{}",), 0),
        "info": (("{}",), 0),
        "io": (("{}", "-c", "write -P 1 0 512"), REFUSED),
        "map": (("{}",), 0),
        "merge": None,
        "mount": None,
        "rebase": None,
        "replay": (("{}",), 0),
        "resize": (("{}", "+4M"), REFUSED),
        "serve": None,
        "umount": None,
    }

    def half(self, kind):
        base, child = self.create(f"base.{kind}", 64 * MIB), self.path(f"child.{kind}")
        self.io(base, "write -P 1 0 4M")
        self.run_tool("create", child, "--parent", base)
        self.io(child, "write -P 2 1M 1M", "write -P 3 8M 12M")
        before = self.raw_of(child)
        limit = 10 * MIB
        done = subprocess.run(
            [VHDTOOL, "merge", child, "--no-reflink"], check=False, capture_output=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertNotEqual(done.returncode, 0)
        self.assertTrue(os.path.exists(base + ".merge"))
        return base, child, before

    def test_every_verb_names_it_and_none_loses_it(self):
        shown = self.run_tool("--help").out
        verbs = set(re.findall(r"(?m)^  ([a-z]+) *[A-Z]", shown))
        self.assertEqual(verbs, set(self.TARGET))
        for kind in KINDS:
            base, child, before = self.half(kind)
            kept = bytes_of(base)
            names = {"out": self.path("out.raw"), "new": self.path(f"new.{kind}")}
            for verb, words in self.TARGET.items():
                if words is None:
                    continue
                with self.subTest(verb, kind=kind):
                    outcome = self.run_tool(verb, *(w.format(base, **names) for w in words[0]),
                                            code=words[1])
                    self.assertIn("merge", outcome.err + outcome.out)
                    self.assertEqual(bytes_of(base), kept)
            # What the child is told to become would keep the merge from being finished.
            for words in (("resize", child, "+4M"), ("checkpoint", "create", child),
                          ("rebase", child, "--parent", base, "--unsafe"),
                          ("merge", child, "--pull"), ("create", names["new"], "--parent", child)):
                with self.subTest(words, kind=kind):
                    outcome = self.run_tool(*words, code=REFUSED)
                    self.assertIn("merge", outcome.err)
            # It is a disk all the time, and may be looked at and made shorter.
            self.run_tool("info", child)
            self.run_tool("compact", child)
            self.assertEqual(self.raw_of(child), before)
            self.run_tool("merge", base, "--resume")
            self.assertEqual(self.raw_of(base), before)
            self.expect_sound(base)
            os.unlink(base)


class Rebase(Chain):
    def test_contents_stay(self):
        for kind in KINDS:
            base, a, b = self.chain(kind)
            other = self.create(f"other.{kind}", 64 * MIB)
            self.io(other, "write -P 1 0 8M", "write -P 9 40M 100K", "write -P 2 20M 1M")
            before = self.raw_of(b)
            shown = self.run_tool("rebase", b, "--parent", other, "--json").json()
            self.assertGreater(shown["copied_bytes"], 100 * KIB)
            self.assertLess(shown["copied_bytes"], 9 * MIB)
            self.assertEqual(self.raw_of(b), before)
            self.expect_sound(b)
            # Back, below what it had: the shared base is not compared.
            shown = self.run_tool("rebase", b, "--parent", base, "--json").json()
            self.assertEqual(self.raw_of(b), before)
            self.assertTrue(os.path.exists(a))

    def test_a_killed_rebase_reads_the_same_and_is_done_again(self):
        for kind in KINDS:
            base = self.create(f"base.{kind}", 64 * MIB)
            self.io(base, "write -P 1 0 40M")
            other = self.create(f"other.{kind}", 64 * MIB)
            self.io(other, "write -P 2 8M 40M")
            child = self.sibling(kind, base, "child")
            self.io(child, "write -P 3 1M 64K")
            before = hashlib.sha256(self.raw_of(child)).digest()
            for attempt in range(8):
                with subprocess.Popen([VHDTOOL, "rebase", child, "--parent", other],
                                      stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL) as running:
                    time.sleep(0.01 * 1.6 ** attempt)
                    running.kill()
                    running.wait()
                for _ in range(100):
                    outcome = self.run_tool("convert", child, "-", code=None)
                    if outcome.code != BUSY:
                        break
                    time.sleep(0.05)
                self.assertEqual(hashlib.sha256(outcome.raw).digest(), before)
            self.run_tool("rebase", child, "--parent", other)
            os.unlink(base)
            self.assertEqual(hashlib.sha256(self.raw_of(child)).digest(), before)
            self.expect_sound(child)

    def test_unsafe_changes_the_name_alone(self):
        for kind in KINDS:
            base, a, _ = self.chain(kind)
            os.rename(base, self.path(f"moved.{kind}"))
            self.run_tool("info", a, "--chain", code=REFUSED)
            self.run_tool("rebase", a, "--parent", self.path(f"moved.{kind}"), "--unsafe")
            self.run_tool("info", a, "--chain")
            self.expect_sound(a)

    def test_what_cannot_be_a_parent_is_refused(self):
        base, a, b = self.chain("vhdx")
        self.run_tool("rebase", a, "--parent", b, code=USAGE)
        self.run_tool("rebase", a, "--parent", a, code=USAGE)
        self.run_tool("rebase", a, "--parent", self.create("x.vhd", 64 * MIB), code=USAGE)
        self.run_tool("rebase", a, "--parent", self.create("l.vhdx", 80 * MIB), code=REFUSED)
        self.run_tool("rebase", base, "--parent", b, code=USAGE)
        self.run_tool("rebase", a, code=USAGE)

    def test_recorded_paths_are_mapped(self):
        base, a, _ = self.chain("vhdx")
        os.mkdir(self.path("store"))
        os.rename(base, self.path("store/base.vhdx"))
        # The relative path, as one that was recorded elsewhere.
        self.run_tool("rebase", a, "--map-path", f".={self.path('store')}", "--unsafe")
        shown = self.run_tool("info", a, "--json").json()
        self.assertIn("relative_path: .\\store\\base.vhdx", shown["layers"][0]["parent_paths"])
        self.run_tool("info", a, "--chain", "--parent-dir", self.path("store"))
        self.run_tool("rebase", a, "--map-path", "C:\\nowhere=/nowhere", code=NOT_FOUND)


class Checkpoint(Chain):
    def checkpoint(self, action, *options):
        return self.run_tool("checkpoint", action, self.disk, *options, "--json").json()

    def now(self):
        return self.raw_of(self.checkpoint("list")["current"])

    def write(self, command):
        self.io(self.checkpoint("list")["current"], command)

    def test_there_and_back_again(self):
        for kind in KINDS:
            self.disk = self.create(f"disk.{kind}", 32 * MIB)
            self.io(self.disk, "write -P 1 0 1M")
            one = self.now()
            self.checkpoint("create", "--name", "one")
            self.io(self.disk, "write -P 9 0 512", code=REFUSED)
            self.write("write -P 2 512K 1M")
            self.checkpoint("create", "--name", "two")
            self.write("write -P 3 2M 1M")
            three = self.now()
            self.checkpoint("apply", "--name", "one")
            self.assertEqual(self.now(), one)
            self.write("write -P 7 5M 1M")
            side = self.now()
            tree = self.checkpoint("list")
            later = [c for c in tree["checkpoints"] if c["name"].startswith("before")][0]
            self.checkpoint("rename", "--name", later["id"], "--to", "later")
            self.checkpoint("delete", "--name", "one")
            self.assertEqual(self.now(), side)
            self.checkpoint("apply", "--name", "later", "--discard")
            self.assertEqual(self.now(), three)
            self.checkpoint("delete", "--name", "two")
            self.checkpoint("delete", "--name", "later")
            self.assertEqual(self.now(), three)
            self.assertEqual(os.listdir(self.folder), [f"disk.{kind}"])
            self.expect_sound(self.disk)
            self.io(self.disk, "write -P 9 0 512")
            os.unlink(self.disk)

    def test_a_lost_catalogue_is_rebuilt(self):
        self.disk = self.create("disk.vhdx", 8 * MIB)
        for name in ("one", "two"):
            self.checkpoint("create", "--name", name)
            self.write("write -P 3 0 4K")
        before = self.checkpoint("list")
        os.unlink(before["catalogue"])
        after = self.checkpoint("list")
        self.assertEqual([c["file"] for c in after["checkpoints"]],
                         [c["file"] for c in before["checkpoints"]])
        self.assertEqual(after["current"], before["current"])
        self.assertTrue(after["notes"])

    def test_an_open_disk_has_no_checkpoints_made(self):
        self.disk = self.create("disk.vhdx", 8 * MIB)
        with held(self.disk):
            self.run_tool("checkpoint", "create", self.disk, code=BUSY)
        self.assertEqual(os.listdir(self.folder), ["disk.vhdx"])

    def test_what_is_not_there_is_told(self):
        self.disk = self.create("disk.vhdx", 8 * MIB)
        self.run_tool("checkpoint", "apply", self.disk, "--name", "x", code=NOT_FOUND)
        self.run_tool("checkpoint", "apply", self.disk, code=USAGE)
        self.run_tool("checkpoint", "create", self.disk, "--name", "a\nb", code=USAGE)
        self.checkpoint("create", "--name", "one")
        self.run_tool("checkpoint", "create", self.disk, "--name", "one", code=USAGE)


@unittest.skipUnless(find_corpus() and shutil.which("zstd"), "no corpus here")
class Corpus(Chain):
    """Chains that other programs wrote merge, and pull, to what is recorded of them."""

    def unpacked(self, corpus, entries, entry):
        for name in os.listdir(self.folder):
            os.unlink(self.path(name))
        wanted = [(entry, entry["unpacked_name"])]
        wanted += [(entries[c["id"]], c["as"]) for c in entry["companions"]]
        for each, name in wanted:
            subprocess.run(["zstd", "-q", "-d", "-f", os.path.join(corpus, each["file"]), "-o",
                            self.path(name)], check=True)
        return self.path(entry["unpacked_name"])

    def test_chains_keep_their_contents(self):
        corpus = find_corpus()
        with open(os.path.join(corpus, "MANIFEST.json"), encoding="utf-8") as file:
            entries = {e["id"]: e for e in json.load(file)["entries"]}
        chains = [e for e in entries.values()
                  if e["expectation"] == "opens" and e.get("companions") and
                  "sha256" in e.get("content", {}) and
                  all(entries[c["id"]]["expectation"] == "opens" and "/" not in c["as"]
                      for c in e["companions"])]
        self.assertGreater(len(chains), 3)
        merged = 0
        for entry in chains:
            with self.subTest(entry["id"]):
                wanted = entry["content"]["sha256"]
                image = self.unpacked(corpus, entries, entry)
                outcome = self.run_tool("merge", image, "--force-siblings", "--json", code=None)
                if outcome.code == 0:
                    merged += 1
                    disk = outcome.json()["disk"]
                    self.assertEqual(hashlib.sha256(self.raw_of(disk)).hexdigest(), wanted)
                else:
                    # What is larger than its parent only pulls.
                    self.assertIn("larger", outcome.err)
                image = self.unpacked(corpus, entries, entry)
                self.run_tool("merge", image, "--pull")
                for companion in entry["companions"]:
                    os.unlink(self.path(companion["as"]))
                self.assertEqual(hashlib.sha256(self.raw_of(image)).hexdigest(), wanted)
                self.run_tool("check", image, code=None)
        self.assertGreater(merged, 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
