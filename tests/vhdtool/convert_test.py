#!/usr/bin/env python3
"""convert and compare on images that vhdtool, QEMU and nbdkit make."""

import os
import random
import signal
import subprocess
import time
import unittest

from program import (CANCELLED, Case, DIFFERENT, GIB, KIB, MIB, OK, REFUSED, USAGE, VHDTOOL,
                     bytes_of, needs)


def sample_disk(size=24 * MIB):
    """Data, zeros and single sectors, the same at every call."""
    source = random.Random(5)
    disk = bytearray(size)
    disk[:MIB] = source.randbytes(MIB)
    disk[7 * MIB + 512:9 * MIB + 1024] = source.randbytes(2 * MIB + 512)
    disk[size - 512:] = source.randbytes(512)
    return bytes(disk)


class Convert(Case):
    def raw(self, name="disk.raw", data=None):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(sample_disk() if data is None else data)
        return path

    def convert(self, source, name, *options, code=OK):
        target = self.path(name)
        self.run_tool("convert", source, target, *options, code=code)
        return target

    def test_around_all_kinds(self):
        source = self.raw()
        current = self.convert(source, "0.vhdx", "--from", "raw")
        step = 0
        for ending in ("vhd", "vhdx"):
            for kind in ("fixed", "dynamic"):
                step += 1
                with self.subTest(f"{ending} {kind}"):
                    current = self.convert(current, f"{step}.{ending}", "--type", kind)
                    self.run_tool("check", current)
                    self.run_tool("compare", "--strict", source, current, "--format-a", "raw")
        back = self.convert(current, "back.raw", "--to", "raw")
        self.assertEqual(bytes_of(back), sample_disk())

    def test_zeros_take_no_space(self):
        source = self.raw()
        for options in ((), ("--no-reflink",)):
            target = self.path("a.vhdx")
            report = self.run_tool("convert", source, target, "--from", "raw", "--block-size",
                                   "1M", "--overwrite", "--json", *options).json()
            self.assertEqual(report["virtual_size"], 24 * MIB)
            self.assertLess(report["copied_bytes"] + report["cloned_bytes"], 8 * MIB)
            self.assertLess(os.stat(target).st_blocks * 512, 12 * MIB)

    def test_a_part(self):
        source = self.raw()
        part = self.convert(source, "part.raw", "--from", "raw", "--to", "raw", "--offset", "7M",
                            "--length", "2M")
        self.assertEqual(bytes_of(part), sample_disk()[7 * MIB:9 * MIB])
        rest = self.convert(source, "rest.vhdx", "--from", "raw", "--offset", "8M")
        self.assertEqual(self.raw_of(rest), sample_disk()[8 * MIB:])
        self.convert(source, "no.raw", "--from", "raw", "--to", "raw", "--offset", "25M",
                     code=USAGE)
        self.convert(source, "no.raw", "--from", "raw", "--to", "raw", "--offset", "23M",
                     "--length", "2M", code=USAGE)
        self.assertFalse(os.path.exists(self.path("no.raw")))

    def test_streams(self):
        data = sample_disk()
        target = self.path("in.vhdx")
        self.run_tool("convert", "-", target, stdin=data)
        self.assertEqual(self.raw_of(target), data)
        self.run_tool("check", target)
        image = self.run_tool("convert", target, "-", "--to", "vhd").raw
        self.assertEqual(len(image), len(data) + 512)
        streamed = self.raw("streamed.vhd", image)
        self.run_tool("check", streamed)
        self.assertEqual(self.raw_of(streamed), data)
        outcome = self.run_tool("convert", target, "-", "--json")
        self.assertEqual(outcome.raw, data)
        self.assertIn('"virtual_size"', outcome.err)
        self.run_tool("convert", target, "-", "--to", "vhdx", code=USAGE)

    def test_a_reader_that_leaves_is_an_error_and_not_a_signal(self):
        path = self.create("a.vhdx", GIB)
        self.io(path, "write -P 1 0 32M")
        with subprocess.Popen([VHDTOOL, "convert", path, "-"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.read(4096)
            process.stdout.close()
            err = process.stderr.read().decode()
            self.assertEqual(process.wait(timeout=60), 5, err)
        self.assertEqual(len(err.splitlines()), 1, err)

    def test_chains_are_flattened(self):
        base = self.convert(self.raw(), "base.vhdx", "--from", "raw")
        child = self.path("child.vhdx")
        self.run_tool("create", child, "--parent", base)
        self.io(child, "write -P 9 2M 1M", "zero 0 64K")
        expected = bytearray(sample_disk())
        expected[2 * MIB:3 * MIB] = b"\x09" * MIB
        expected[:64 * KIB] = bytes(64 * KIB)
        flat = self.convert(child, "flat.vhd")
        self.assertEqual(self.raw_of(flat), expected)
        os.mkdir(self.path("elsewhere"))
        os.rename(base, self.path("elsewhere/base.vhdx"))
        self.convert(child, "no.vhd", code=REFUSED)
        self.assertFalse(os.path.exists(self.path("no.vhd")))
        self.run_tool("compare", child, flat, "--parent-dir", self.path("elsewhere"))
        self.run_tool("convert", child, self.path("again.vhd"), "--parent",
                      self.path("elsewhere/base.vhdx"))
        self.run_tool("compare", flat, self.path("again.vhd"), "--strict")

    def test_existing_targets_stay_unless_told(self):
        source = self.raw()
        target = self.raw("precious.vhdx", b"precious")
        outcome = self.run_tool("convert", source, target, "--from", "raw", code=None)
        self.assertNotEqual(outcome.code, OK)
        self.assertIn("precious.vhdx", outcome.err)
        self.assertEqual(bytes_of(target), b"precious")
        self.run_tool("convert", source, target, "--from", "raw", "--overwrite")
        self.assertEqual(self.raw_of(target), sample_disk())

    def test_a_length_of_zero_is_no_length(self):
        source = self.raw()
        self.assertIn("--length", self.run_tool(
            "convert", source, self.path("a.vhdx"), "--from", "raw", "--length", "0",
            code=USAGE).err)
        for option in ("--size", "--block-size", "--log-size"):
            outcome = self.run_tool("create", self.path("a.vhdx"), *(
                () if option == "--size" else ("--size", "8M")), option, "0", code=USAGE)
            self.assertIn(option, outcome.err)
        self.assertEqual(os.listdir(self.folder), ["disk.raw"])

    def test_padding_to_whole_sectors_is_told(self):
        source = self.raw(data=sample_disk()[:MIB] + b"\x07" * 1000)
        text = f"rounded up from {MIB + 1000} to {MIB + 1024} bytes, with 24 bytes of zeros"
        for name, options in (("a.vhdx", ()), ("a.vhd", ("--no-reflink",)),
                              ("b.vhd", ("--type", "fixed")), ("a.raw", ("--to", "raw"))):
            for where, stdin in ((source, None), ("-", bytes_of(source))):
                with self.subTest(f"{where} {name}"):
                    words = ("convert", where, self.path(name), "--from", "raw", *options,
                             "--overwrite")
                    outcome = self.run_tool(*words, stdin=stdin)
                    self.assertIn(text, outcome.err)
                    self.assertEqual(len(outcome.err.splitlines()), 1)
                    report = self.run_tool(*words, "--json", stdin=stdin).json()
                    self.assertEqual(report["virtual_size"], MIB + 1024)
                    self.assertEqual(len(report["notes"]), 1)
                    self.assertIn(text, report["notes"][0])
        outcome = self.run_tool("convert", source, "-", "--from", "raw")
        self.assertIn(text, outcome.err)
        self.assertEqual(outcome.raw, bytes_of(source) + bytes(24))
        part = self.run_tool("convert", source, self.path("part.raw"), "--from", "raw", "--to",
                             "raw", "--length", "1M")
        self.assertEqual(part.err, "")
        self.run_tool("compare", "--strict", source, self.path("a.vhdx"), "--format-a", "raw")

    def test_a_target_whose_name_tells_no_format_is_the_one_to_blame(self):
        source = self.create("a.vhdx", 8 * MIB)
        for words, stdin in (((source,), None), (("-", "--from", "raw"), bytes(MIB))):
            for name in ("noext", "a.img", ".vhd.d/none", "a.vhdx "):
                target = self.path(name)
                os.makedirs(os.path.dirname(target), exist_ok=True)
                outcome = self.run_tool("convert", words[0], target, *words[1:], stdin=stdin,
                                        code=USAGE)
                self.assertTrue(outcome.err.startswith(f"vhdtool: {target}: "), outcome.err)
                self.assertIn("--to", outcome.err)
        outcome = self.run_tool("create", self.path("noext"), "--size", "1M", code=USAGE)
        self.assertIn("--format", outcome.err)

    def test_what_is_wrong_with_the_part_is_told_of_the_source(self):
        source = self.create("a.vhdx", 8 * MIB)
        for options in (("--offset", "9M"), ("--offset", "7M", "--length", "2M"),
                        ("--offset", "8M")):
            outcome = self.run_tool("convert", source, self.path("b.vhdx"), *options, code=USAGE)
            self.assertTrue(outcome.err.startswith(f"vhdtool: {source}: "), outcome.err)

    def test_an_image_on_standard_input_is_not_taken_for_a_disk(self):
        data = sample_disk(4 * MIB)
        raw = self.raw(data=data)
        images = [self.convert(raw, f"{kind}.{ending}", "--from", "raw", "--type", kind)
                  for ending in ("vhd", "vhdx") for kind in ("fixed", "dynamic")]
        before = sorted(os.listdir(self.folder))
        for image in images:
            for name, options in (("t.vhd", ()), ("t.raw", ("--to", "raw"))):
                with self.subTest(f"{image} {name}"):
                    words = ("convert", "-", self.path(name), *options)
                    refused = [self.run_tool(*words, stdin=bytes_of(image), code=USAGE)]
                    with open(image, "rb") as file:
                        refused.append(self.run_tool(*words, stdin=file, code=USAGE))
                    for outcome in refused:
                        self.assertTrue(outcome.err.startswith("vhdtool: -: "), outcome.err)
                        self.assertIn("--from raw", outcome.err)
                    self.assertEqual(sorted(os.listdir(self.folder)), before)
                    self.run_tool(*words, "--from", "raw", stdin=bytes_of(image))
                    self.run_tool("compare", image, self.path(name), "--format-a", "raw",
                                  "--format-b", name.split(".")[1])
                    os.remove(self.path(name))
        # A whole file may be said to be an image.
        with open(images[-1], "rb") as file:
            self.run_tool("convert", "-", self.path("t.raw"), "--to", "raw", "--from", "vhdx",
                          stdin=file)
        self.assertEqual(bytes_of(self.path("t.raw")), data)

    def test_a_long_image_on_standard_input_is_refused_before_it_is_read(self):
        image = self.create("a.vhdx", GIB)
        with subprocess.Popen([VHDTOOL, "convert", "-", self.path("b.vhd")],
                              stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                process.stdin.write(bytes_of(image)[:2 * MIB])
                process.stdin.flush()
            except BrokenPipeError:
                pass  # it is gone already
            self.assertEqual(process.wait(timeout=60), USAGE)  # the pipe is still open
            process.stdin.raw.close()

    def test_raw_is_never_guessed(self):
        source = self.raw()
        self.convert(source, "a.vhdx", code=REFUSED)
        image = self.convert(source, "a.vhdx", "--from", "raw")
        self.convert(image, "a.img", code=USAGE)
        self.assertFalse(os.path.exists(self.path("a.img")))

    def test_the_sector_size_does_not_change_silently(self):
        source = self.create("a.vhdx", 8 * MIB, "--logical-sector", "4096")
        self.convert(source, "a.vhd", code=USAGE)
        target = self.convert(source, "b.vhdx")
        layer = self.run_tool("info", target, "--json").json()["layers"][0]
        self.assertEqual(layer["logical_sector_size"], 4096)
        self.convert(source, "c.vhdx", "--logical-sector", "512")

    def test_azure(self):
        source = self.raw()
        target = self.convert(source, "a.vhd", "--from", "raw", "--azure")
        self.assertEqual(os.path.getsize(target), 24 * MIB + 512)
        self.run_tool("check", "--azure", target)
        odd = self.raw("odd.raw", sample_disk()[:-512])
        target = self.path("odd.vhd")
        outcome = self.run_tool("convert", odd, target, "--from", "raw", "--azure")
        self.assertIn("rounded up", outcome.err)  # said, not silent
        self.assertEqual(os.path.getsize(target), 24 * MIB + 512)

    def test_no_sparse_has_no_holes(self):
        source = self.raw()
        target = self.convert(source, "a.vhd", "--from", "raw", "--type", "fixed", "--no-sparse")
        self.assertGreaterEqual(os.stat(target).st_blocks * 512, 24 * MIB)
        sparse = self.convert(source, "b.vhd", "--from", "raw", "--type", "fixed")
        self.run_tool("compare", target, sparse, "--strict")

    def test_one_signal_is_enough_while_the_other_end_makes_it_wait(self):
        source = self.create("big.vhdx", 64 * MIB)
        for number in (signal.SIGINT, signal.SIGTERM):
            for words in (("-", self.path("s.vhdx"), "--from", "raw"),
                          ("-", self.path("s.raw"), "--from", "raw", "--to", "raw"),
                          (source, "-")):
                with self.subTest(f"{number} {words}"):
                    with subprocess.Popen([VHDTOOL, "convert", *words], stdin=subprocess.PIPE,
                                          stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE) as process:
                        self.wait_until_asleep(process.pid)
                        process.send_signal(number)
                        self.assertEqual(process.wait(timeout=20), CANCELLED)
                    self.assertEqual(os.listdir(self.folder), ["big.vhdx"])

    def wait_until_asleep(self, pid):
        """Until it has caught signals and waits, nobody having read or written."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with open(f"/proc/{pid}/status", encoding="utf-8") as file:
                status = dict(line.split(":", 1) for line in file)
            catches = int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1
            if catches and status["State"].split()[0] == "S":
                time.sleep(0.3)
                return
            time.sleep(0.01)
        self.fail("it never waits")

    def test_interrupted_leaves_nothing(self):
        target = self.path("a.vhdx")
        with subprocess.Popen([VHDTOOL, "convert", "-", target], stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            chunk = b"\x77" * MIB
            for _ in range(8):
                process.stdin.write(chunk)
            process.stdin.flush()
            process.send_signal(2)
            try:
                deadline = time.monotonic() + 60
                while process.poll() is None and time.monotonic() < deadline:
                    process.stdin.write(chunk)
            except BrokenPipeError:
                pass
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
            err = process.stderr.read().decode()
            self.assertEqual(process.wait(timeout=60), CANCELLED, err)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertEqual(os.listdir(self.folder), [])

    def test_killed_leaves_nothing_under_the_name(self):
        for name, options in (("a.vhdx", ()), ("a.raw", ("--to", "raw"))):
            with self.subTest(name):
                target = self.path(name)
                with subprocess.Popen([VHDTOOL, "convert", "-", target, *options],
                                      stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
                    for _ in range(8):
                        process.stdin.write(b"\x77" * MIB)
                    process.stdin.flush()
                    process.kill()
                    process.wait(timeout=60)
                self.assertFalse(os.path.exists(target))
                self.assertTrue([each for each in os.listdir(self.folder)
                                 if each.startswith("." + name)])  # it was on its way
        # A copy from a file: killed as soon as the new image has any bytes.
        source = self.path("big.raw")
        with open(source, "wb") as file:
            for _ in range(512):
                file.write(b"\x55" * MIB)
        target = self.path("b.vhdx")
        with subprocess.Popen([VHDTOOL, "convert", source, target, "--from", "raw",
                               "--no-reflink"], stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while (process.poll() is None and time.monotonic() < deadline
                   and not [name for name in os.listdir(self.folder) if "b.vhdx" in name]):
                pass
            self.assertIsNone(process.poll(), "ended before it could be killed")
            process.kill()
            process.wait(timeout=60)
        self.assertFalse(os.path.exists(target))

    @needs("qemu-img")
    def test_qemu_reads_what_we_write_and_we_what_it_writes(self):
        source = self.raw()
        for ending, driver, options in (("vhdx", "vhdx", ""), ("vhd", "vpc", "force_size=on"),
                                        ("vhdx", "vhdx", "subformat=fixed"),
                                        ("vhd", "vpc", "subformat=fixed,force_size=on")):
            with self.subTest(f"{ending} {options}"):
                theirs = self.path("theirs." + ending)
                command = ["qemu-img", "convert", "-f", "raw", "-O", driver]
                subprocess.run(command + (["-o", options] if options else []) + [source, theirs],
                               check=True, timeout=60)
                self.run_tool("compare", "--strict", source, theirs, "--format-a", "raw")
                ours = self.convert(theirs, "ours." + ending, "--overwrite")
                subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", driver, source, ours],
                               check=True, timeout=60, stdout=subprocess.DEVNULL)

    @needs("qemu-nbd")
    def test_a_qcow2_comes_and_goes_through_a_server(self):
        source = self.raw()
        qcow2, empty = self.path("a.qcow2"), self.path("b.qcow2")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, qcow2],
                       check=True, timeout=60)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", empty, str(24 * MIB)],
                       check=True, timeout=60)
        for image in (qcow2, empty):
            socket = image + ".sock"
            server = subprocess.Popen(["qemu-nbd", "-k", socket, "-f", "qcow2", "-t",
                                       "--discard=unmap", image])
            self.addCleanup(server.wait)
            self.addCleanup(server.terminate)
            deadline = time.monotonic() + 30
            while not os.path.exists(socket):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
        target = self.path("c.vhdx")
        self.run_tool("convert", f"nbd+unix:///?socket={qcow2}.sock", target)
        self.assertEqual(self.raw_of(target), sample_disk())
        self.run_tool("convert", target, f"nbd+unix:///?socket={empty}.sock")
        self.run_tool("compare", target, f"nbd+unix:///?socket={empty}.sock")


class Compare(Case):
    def test_differences_are_1_and_located(self):
        a = self.create("a.vhdx", 16 * MIB)
        b = self.create("b.vhd", 16 * MIB)
        self.assertIn("are equal", self.run_tool("compare", a, b).out)
        self.io(b, "write -P 1 5243001 1")
        outcome = self.run_tool("compare", a, b, code=DIFFERENT)
        self.assertIn(hex(5243001), outcome.out)
        report = self.run_tool("compare", a, b, "--json", code=DIFFERENT).json()
        self.assertEqual(report, {"schema": 1, "equal": False, "sizes_differ": False,
                                  "first_difference": 5243001})

    def test_a_longer_disk_of_zeros_is_equal_unless_strict(self):
        a = self.create("a.vhdx", 16 * MIB)
        b = self.create("b.vhdx", 17 * MIB)
        self.run_tool("compare", a, b)
        self.run_tool("compare", a, b, "--strict", code=DIFFERENT)
        self.io(b, "write -P 1 16M 1")
        self.run_tool("compare", b, a, code=DIFFERENT)


if __name__ == "__main__":
    unittest.main()
