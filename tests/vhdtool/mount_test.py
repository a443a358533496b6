#!/usr/bin/env python3
"""mount and umount: disks as files, and the file systems on them, with the programs people have."""

import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from program import (BUSY, Case, IO, KIB, MIB, NOT_FOUND, OK, READ_ONLY, REFUSED, TIMEOUT, USAGE,
                     VHDTOOL, bytes_of)

SKIPPED = 77  # CTest's SKIP_RETURN_CODE
os.environ["PATH"] += ":/usr/sbin:/sbin"
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def needs_all(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return unittest.skipIf(missing, f"not installed: {' '.join(missing)}")


def fallocate(file, mode, at, length):
    if LIBC.fallocate(file.fileno(), mode, at, length) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def can_mount():
    """Why nothing can be mounted here, or nothing."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "/dev/fuse is not there"
    if os.geteuid() != 0 and not shutil.which("fusermount3"):
        return "neither root nor fusermount3"
    return None


def can_loop():
    """A loop device can be had, and a file system mounted from it."""
    if os.geteuid() != 0:
        return False
    done = subprocess.run(["losetup", "-f"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=False)
    with open("/proc/filesystems", encoding="ascii") as file:
        return done.returncode == 0 and "\text4\n" in file.read()


class MountCase(Case):
    def setUp(self):
        super().setUp()
        self.point = self.path("mnt")
        os.mkdir(self.point)
        self.addCleanup(self.clean)

    def clean(self):
        """Whatever a failed test left mounted."""
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            mounted = [line.split()[4] for line in file if self.folder in line]
        for folder in reversed(mounted):
            subprocess.run(["umount", "-l", folder], stderr=subprocess.DEVNULL, check=False)

    def mount(self, path, *options):
        report = self.run_tool("mount", path, self.point, "--json", *options).json()
        self.assertEqual(report["mountpoint"], self.point)
        return report

    def umount(self, code=OK):
        return self.run_tool("umount", self.point, code=code)

    def partition(self, file, script, *options):
        subprocess.run(["sfdisk", "-q", *options, file], input=script.encode(), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def program(self, *words, code=0):
        done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, code, f"{words}\n{done.stdout.decode()}")
        return done.stdout.decode()


class File(MountCase):
    def test_the_file_is_the_disk_in_every_kind(self):
        for name, options in (("a.vhdx", ("--block-size", "1M")), ("b.vhd", ()),
                              ("c.vhdx", ("--logical-sector", "4096")),
                              ("d.vhd", ("--type", "fixed"))):
            with self.subTest(name):
                path = self.create(name, 64 * MIB, *options)
                self.io(path, "write -P 1 3M 2M")
                report = self.mount(path)
                self.assertEqual(os.listdir(self.point), ["disk.raw"])
                self.assertEqual(os.path.getsize(report["file"]), 64 * MIB)
                with open(report["file"], "r+b", buffering=0) as file:
                    file.seek(3 * MIB)
                    self.assertEqual(file.read(2 * MIB), b"\1" * (2 * MIB))
                    file.seek(5 * MIB - 3)
                    file.write(b"across")  # parts of two sectors
                    file.seek(40 * MIB)
                    file.write(b"\2" * MIB)
                    os.fsync(file.fileno())
                    self.assertEqual(os.pread(file.fileno(), 8, 5 * MIB - 4), b"\1across\0")
                self.umount()
                self.assertEqual(os.listdir(self.point), [])
                self.io(path, "read -P 2 40M 1M", "read -P 1 3M 2097149", "read -P 0x61 5242877 1")
                self.run_tool("check", path)

    def test_holes_are_found_and_made(self):
        path = self.create("a.vhdx", 64 * MIB, "--block-size", "1M")
        self.io(path, "write -P 1 8M 4M", "write -P 2 32M 1M")
        report = self.mount(path)
        with open(report["file"], "r+b", buffering=0) as file:
            fd = file.fileno()
            seek = lambda at, how: os.lseek(fd, at, how)
            self.assertEqual(seek(0, os.SEEK_DATA), 8 * MIB)
            self.assertEqual(seek(9 * MIB + 5, os.SEEK_DATA), 9 * MIB + 5)
            self.assertEqual(seek(8 * MIB, os.SEEK_HOLE), 12 * MIB)
            self.assertEqual(seek(33 * MIB, os.SEEK_HOLE), 33 * MIB)
            with self.assertRaises(OSError) as refused:
                seek(33 * MIB, os.SEEK_DATA)
            self.assertEqual(refused.exception.errno, errno.ENXIO)
            fallocate(file, PUNCH_HOLE | KEEP_SIZE, 9 * MIB, 2 * MIB)
            self.assertEqual(os.pread(fd, 3 * MIB, 8 * MIB + MIB // 2),
                             b"\1" * (MIB // 2) + bytes(2 * MIB) + b"\1" * (MIB // 2))
            self.assertEqual(seek(8 * MIB, os.SEEK_HOLE), 9 * MIB)
            fallocate(file, ZERO_RANGE, 32 * MIB + 1000, 5000)
            self.assertEqual(os.pread(fd, 7000, 32 * MIB),
                             b"\2" * 1000 + bytes(5000) + b"\2" * 1000)
            for mode in (0, KEEP_SIZE):
                with self.assertRaises(OSError) as refused:
                    fallocate(file, mode, 0, MIB)
                self.assertEqual(refused.exception.errno, errno.EOPNOTSUPP)
        self.umount()
        kinds = {e["offset"]: e["kind"] for e in
                 self.run_tool("map", path, "--json").json()["extents"]}
        self.assertNotEqual(kinds[9 * MIB], "data")

    def test_the_size_stays(self):
        path = self.create("a.vhdx", 4 * MIB)
        report = self.mount(path)
        with open(report["file"], "r+b", buffering=0) as file:
            for size in (0, 8 * MIB):
                with self.assertRaises(PermissionError):
                    os.ftruncate(file.fileno(), size)
            os.ftruncate(file.fileno(), 4 * MIB)
            with self.assertRaises(OSError) as refused:
                os.pwrite(file.fileno(), b"x", 4 * MIB)
            self.assertEqual(refused.exception.errno, errno.ENOSPC)
            self.assertEqual(os.pwrite(file.fileno(), b"xyz", 4 * MIB - 2), 2)
            self.assertEqual(os.pread(file.fileno(), 10, 4 * MIB - 2), b"xy")
        with self.assertRaises(PermissionError):
            os.open(os.path.join(self.point, "other"), os.O_CREAT | os.O_WRONLY)
        with self.assertRaises(PermissionError):
            os.remove(report["file"])
        self.umount()

    @needs_all("mkfs.ext4", "e2fsck", "debugfs")
    def test_a_file_system_is_made_and_checked(self):
        path = self.create("a.vhdx", 256 * MIB)
        report = self.mount(path)
        self.program("mkfs.ext4", "-q", report["file"])
        with open(self.path("x"), "wb") as file:
            file.write(os.urandom(3 * MIB + 17))
        self.program("debugfs", "-w", "-R", f"write {self.path('x')} x", report["file"])
        self.program("e2fsck", "-fn", report["file"])
        self.program("debugfs", "-R", f"dump x {self.path('y')}", report["file"])
        self.umount()
        self.assertEqual(bytes_of(self.path("x")), bytes_of(self.path("y")))
        self.run_tool("check", path)

    @needs_all("sfdisk", "mkfs.ext4", "e2fsck")
    def test_partitions(self):
        for label, numbers in (("dos", (1, 2, 5, 6)), ("gpt", (1, 2, 7))):
            with self.subTest(label):
                path = self.create(f"{label}.vhdx", 256 * MIB)
                report = self.mount(path)
                logical = "3: type=5\n5: size=20M\n6: size=10M\n"
                script = (f"label: {label}\n1: size=64M\n2: size=32M\n" +
                          (logical if label == "dos" else "7: size=16M\n"))
                self.partition(report["file"], script)
                table = json.loads(self.program("sfdisk", "-J", report["file"]))["partitiontable"]
                self.umount()
                for number in numbers:
                    entry = next(p for p in table["partitions"]
                                 if p["node"].endswith(f"disk.raw{number}"))
                    report = self.mount(path, "--partition", number)
                    self.assertEqual(report["partition"], number)
                    self.assertEqual(report["length"], entry["size"] * 512)
                    with open(report["file"], "r+b") as file:
                        file.write(b"%d" % number)
                    self.umount()
                    first = self.io(path, f"read {entry['start'] * 512} 1").out
                    self.assertIn(f"|{number}|", first)
                self.program("true")
                outcome = self.run_tool("mount", path, self.point, "--partition", 9, code=REFUSED)
                self.assertIn("no partition 9", outcome.err)

    def test_read_only(self):
        path = self.create("a.vhdx", 4 * MIB)
        self.io(path, "write -P 1 0 1M")
        before = bytes_of(path)
        report = self.mount(path, "--read-only")
        self.run_tool("info", path)  # another reader
        with self.assertRaises(OSError) as refused:
            open(report["file"], "r+b").close()
        self.assertEqual(refused.exception.errno, errno.EROFS)
        self.assertEqual(bytes_of(report["file"])[:MIB], b"\1" * MIB)
        self.umount()
        self.assertEqual(bytes_of(path), before)

    def test_chains_and_dirty_logs(self):
        base = self.create("base.vhdx", 16 * MIB)
        self.io(base, "write -P 1 0 2M")
        child = self.path("child.avhdx")
        self.run_tool("create", child, "--parent", base)
        self.io(child, "write -P 2 1M 4K", "flush", options=["--crash-after", "2"])
        # The kernel keeps the locks of a dead process until its io_uring has come to rest.
        deadline = time.monotonic() + 30
        while self.run_tool("info", child, code=None).code == BUSY:
            self.assertLess(time.monotonic(), deadline)
        for options in (("--read-only",), ()):
            report = self.mount(child, *options)
            with open(report["file"], "rb") as file:
                data = file.read(3 * MIB)
            self.assertEqual(data, b"\1" * MIB + b"\2" * 4096 + b"\1" * (MIB - 4096) + bytes(MIB))
            self.umount()
        self.run_tool("check", child, "--chain")

    def test_a_killed_server_leaves_what_was_written(self):
        path = self.create("a.vhdx", 64 * MIB, "--block-size", "1M")
        report = self.mount(path)
        with open(report["file"], "r+b", buffering=0) as file:
            file.write(b"\7" * (3 * MIB))
            os.fsync(file.fileno())
            file.seek(8 * MIB)
            file.write(b"\5" * (9 * MIB))
        os.kill(report["pid"], signal.SIGKILL)
        with self.assertRaises(OSError):
            while True:
                os.listdir(self.point)
        self.umount()
        deadline = time.monotonic() + 30
        while self.run_tool("check", path, code=None).code == BUSY:
            self.assertLess(time.monotonic(), deadline)
        self.io(path, "read -P 7 0 3M")
        self.run_tool("check", path)
        self.mount(path)
        self.umount()

    def test_a_place_of_its_own(self):
        path = self.create("own-place-test.vhdx", 4 * MIB)
        file = self.run_tool("mount", path).out.strip()
        folder = os.path.dirname(file)
        try:
            self.assertEqual(os.path.getsize(file), 4 * MIB)
            self.assertEqual(os.path.basename(folder), "own-place-test.vhdx")
            self.run_tool("mount", path, code=BUSY)
        finally:
            self.run_tool("umount", folder)
        self.assertFalse(os.path.exists(folder))

    def test_foreground(self):
        path = self.create("a.vhdx", 4 * MIB)
        for how in (signal.SIGINT, signal.SIGTERM):
            process = subprocess.Popen([VHDTOOL, "mount", path, self.point, "--foreground"],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            file = process.stdout.readline().decode().strip()
            with open(file, "r+b") as disk:
                disk.write(b"x")
            process.send_signal(how)
            _, errors = process.communicate(timeout=TIMEOUT)
            self.assertEqual((process.returncode, errors), (0, b""))
            self.assertEqual(os.listdir(self.point), [])
            self.io(path, "read -P 0x78 0 1")

    def test_what_is_wrong_is_one_line(self):
        path = self.create("a.vhdx", 4 * MIB)
        self.run_tool("mount", path, self.path("nowhere"), code=NOT_FOUND)
        self.run_tool("mount", self.path("gone.vhdx"), self.point, code=NOT_FOUND)
        self.run_tool("mount", path, self.point, "--partition", 0, code=USAGE)
        self.run_tool("mount", path, self.point, "--partition", 1, code=REFUSED)
        self.run_tool("umount", self.point, code=NOT_FOUND)
        self.run_tool("umount", "/proc", code=IO)
        self.mount(path)
        self.run_tool("mount", path, self.folder, code=BUSY)  # held by the first one
        with open(os.path.join(self.point, "disk.raw"), "rb"):
            self.umount(code=BUSY)
        self.umount()


@unittest.skipUnless(can_loop(), "no loop devices here, or no ext4")
class FileSystem(MountCase):
    @needs_all("mkfs.ext4", "fstrim", "e2fsck")
    def test_files_go_in_and_out_and_discards_reach_the_image(self):
        path = self.create("a.vhdx", 256 * MIB, "--block-size", "1M")
        report = self.mount(path)
        self.program("mkfs.ext4", "-q", report["file"])
        self.umount()
        self.mount(path, "--fs")
        data = os.urandom(24 * MIB + 5)
        with open(os.path.join(self.point, "data"), "wb") as file:
            file.write(data)
        os.sync()
        self.umount()
        stored = self.stored(path)
        self.assertGreater(stored, 24 * MIB)
        self.mount(path, "--fs")
        self.assertEqual(bytes_of(os.path.join(self.point, "data")), data)
        os.remove(os.path.join(self.point, "data"))
        os.sync()
        self.program("fstrim", self.point)
        self.umount()
        self.assertLess(self.stored(path), stored - 22 * MIB)
        self.run_tool("check", path)
        report = self.mount(path, "--read-only")
        self.program("e2fsck", "-fn", report["file"])
        self.umount()

    def stored(self, path):
        blocks = self.run_tool("info", path, "--blocks", "--json").json()["layers"][0]["blocks"]
        return blocks["fully_present"] * MIB

    @needs_all("mkfs.ext4", "sfdisk")
    def test_the_partition_with_the_file_system(self):
        path = self.create("a.vhdx", 256 * MIB)
        report = self.mount(path)
        self.partition(report["file"], "label: gpt\nsize=64M\n")
        self.umount()
        report = self.mount(path, "--partition", 1)
        self.program("mkfs.ext4", "-q", report["file"])
        self.umount()
        self.assertEqual(self.mount(path, "--fs")["partition"], 1)
        self.assertIn("lost+found", os.listdir(self.point))
        self.umount()
        self.mount(path, "--fs", "--partition", 1, "--read-only")
        with self.assertRaises(OSError):
            open(os.path.join(self.point, "new"), "wb").close()
        self.umount()
        report = self.mount(path)
        self.partition(report["file"], "size=64M\n", "-a")
        self.umount()
        outcome = self.run_tool("mount", path, self.point, "--fs", code=REFUSED)
        self.assertIn("1 (64 MiB), 2 (64 MiB)", outcome.err)

    @staticmethod
    def size_of_partition(device, number):
        name = os.path.basename(device)
        try:
            with open(f"/sys/block/{name}/{name}p{number}/size", encoding="ascii") as file:
                return int(file.read()) * 512
        except FileNotFoundError:
            return None

    def kernel_knows_partitions(self):
        """Of a plain file: some kernels are built without."""
        plain = self.path("plain")
        with open(plain, "wb") as file:
            file.truncate(64 * MIB)
        self.partition(plain, "label: gpt\nsize=8M\n")
        device = self.program("losetup", "-f", "-P", "--show", plain).strip()
        try:
            return self.size_of_partition(device, 1) == 8 * MIB
        finally:
            self.program("losetup", "-d", device)

    @needs_all("losetup", "sfdisk", "blockdev")
    def test_losetup_with_partitions(self):
        path = self.create("a.vhdx", 256 * MIB)
        report = self.mount(path)
        self.partition(report["file"], "label: gpt\nsize=64M\nsize=32M\n")
        device = self.program("losetup", "-f", "-P", "--show", report["file"]).strip()
        try:
            self.assertEqual(int(self.program("blockdev", "--getsize64", device)), 256 * MIB)
            if self.kernel_knows_partitions():
                self.assertEqual(self.size_of_partition(device, 2), 32 * MIB)
            with open(device, "r+b", buffering=0) as disk:
                disk.seek(200 * MIB)
                disk.write(b"\3" * MIB)
                os.fsync(disk.fileno())
        finally:
            self.program("losetup", "-d", device)
        deadline = time.monotonic() + 30
        while self.run_tool("umount", self.point, code=None).code == BUSY:
            self.assertLess(time.monotonic(), deadline)
        self.io(path, "read -P 3 200M 1M")

    @needs_all("mkfs.ext4", "mount")
    def test_mount_o_loop_by_hand(self):
        path = self.create("a.vhd", 64 * MIB)
        report = self.mount(path)
        self.program("mkfs.ext4", "-q", report["file"])
        other = self.path("other")
        os.mkdir(other)
        self.program("mount", "-o", "loop", report["file"], other)
        with open(os.path.join(other, "hello"), "wb") as file:
            file.write(b"hello")
        self.program("umount", other)
        deadline = time.monotonic() + 30
        while self.run_tool("umount", self.point, code=None).code == BUSY:
            self.assertLess(time.monotonic(), deadline)
        self.mount(path, "--fs", "--read-only")
        self.assertEqual(bytes_of(os.path.join(self.point, "hello")), b"hello")
        self.umount()

    @needs_all("mkfs.ext4")
    def test_foreground_unmounts_both(self):
        path = self.create("a.vhdx", 64 * MIB)
        report = self.mount(path)
        self.program("mkfs.ext4", "-q", report["file"])
        self.umount()
        process = subprocess.Popen([VHDTOOL, "mount", path, self.point, "--fs", "--foreground"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(process.stdout.readline().decode().strip(), self.point)
        with open(os.path.join(self.point, "x"), "wb") as file:
            file.write(b"x")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT)
        self.assertEqual((process.returncode, errors), (0, b""))
        self.assertEqual(os.listdir(self.point), [])
        self.run_tool("check", path)

    def test_what_is_no_file_system_is_refused(self):
        path = self.create("a.vhdx", 64 * MIB)
        outcome = self.run_tool("mount", path, self.point, "--fs", code=REFUSED)
        self.assertIn("mount: ", outcome.err)
        self.assertEqual(os.listdir(self.point), [])
        self.io(path, "write 0 512")


if __name__ == "__main__":
    why = can_mount()
    if why:
        print(f"skipped: {why}")
        sys.exit(SKIPPED)
    unittest.main()
