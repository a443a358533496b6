#!/usr/bin/env python3
"""Everything on the page docs/guide.md runs: each section in a folder with what it speaks of."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUIDE = os.path.join(SOURCE, "docs", "guide.md")
VHDTOOL = os.environ["VHDTOOL"]
LIBRARY = os.environ["OPENVHD_LIBRARY"]
COMPILER = os.environ.get("CC", "cc")
TIMEOUT = 300
ENVIRONMENT = {**os.environ, "PATH": f"{os.path.dirname(VHDTOOL)}:{os.environ['PATH']}"
                                     ":/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}

# What the sections speak of, made before they begin.
CHAIN = """
vhdtool create vm.vhdx --size 64M
vhdtool io vm.vhdx -c 'write -P 1 0 4M'
vhdtool create vm.avhdx --parent vm.vhdx
vhdtool io vm.avhdx -c 'write -P 2 2M 1M'
"""
RAW = "head -c 3000000 /dev/urandom >vm.raw\n"
LINUX = """
mkdir files && echo hello >files/hello.txt && head -c 8M /dev/urandom >files/gone
truncate -s 128M l.raw && mkfs.ext4 -q -d files l.raw && debugfs -w -R 'rm gone' l.raw
vhdtool convert l.raw linux.vhdx --from raw --block-size 1M && mkdir mnt
"""
DISK = """
vhdtool create disk.vhdx --size 64M
vhdtool io disk.vhdx -c 'write -P 1 0 4M'
"""
DAMAGED = """
vhdtool create damaged.vhdx --size 64M
vhdtool io damaged.vhdx -c 'write -P 1 0 4M'
printf 'xxxx' | dd of=damaged.vhdx bs=1 seek=65540 conv=notrunc status=none
"""
PREPARED = {
    "Move a virtual machine from Hyper-V": (CHAIN, "qemu-img nbdkit"),
    "Prepare an image for Azure": (RAW, ""),
    "Look into an image": (LINUX, "mkfs.ext4 debugfs"),
    "Shrink a disk": (LINUX, "mkfs.ext4"),
    "Try something, and go back": (LINUX, "mkfs.ext4"),
    "Back up with checkpoints": (DISK, ""),
    "Serve a disk to other machines and programs": (LINUX, "mkfs.ext4 nbdkit nbdinfo nbdcopy"),
    "Recover a damaged image": (DAMAGED, ""),
    "Use the library from C": ("", ""),
}


def sections():
    """Title: its blocks, each with what follows the fence."""
    with open(GUIDE, encoding="utf-8") as file:
        parts = re.split(r"^## (.*)\n", file.read(), flags=re.M)
    return {title: re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.M | re.S)
            for title, text in zip(parts[1::2], parts[2::2])}


def mounts_work():
    return os.access("/dev/fuse", os.W_OK)


def root_works():
    if os.geteuid() != 0 or not mounts_work():
        return False
    found = subprocess.run(["losetup", "-f"], env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, check=False).returncode == 0
    with open("/proc/filesystems", encoding="ascii") as file:
        return found and "\text4\n" in file.read()


class Guide(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="guide-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def shell(self, script):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=self.folder,
                              env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=TIMEOUT, check=False)
        self.assertEqual(done.returncode, 0, f"{script}\n{done.stdout.decode()}")
        return done.stdout.decode()

    def run_section(self, title):
        prepare, programs = PREPARED[title]
        missing = [p for p in programs.split() if not shutil.which(p, path=ENVIRONMENT["PATH"])]
        if missing:
            self.skipTest(f"not installed: {' '.join(missing)}")
        self.shell(prepare)
        for kind, text in sections()[title]:
            if kind == "sh root" and not root_works():
                continue
            if "vhdtool mount" in text and not mounts_work():
                continue
            if kind == "c":
                self.build_and_run(text)
            else:
                self.shell(text)

    def build_and_run(self, program):
        self.assertLessEqual(program.count("\n"), 40)
        with open(os.path.join(self.folder, "program.c"), "w", encoding="utf-8") as file:
            file.write(program)
        subprocess.run([COMPILER, "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
                        f"-I{SOURCE}/include", "program.c", "-o", "program", LIBRARY,
                        f"-Wl,-rpath,{os.path.dirname(LIBRARY)}"], cwd=self.folder, check=True,
                       timeout=TIMEOUT)
        self.assertIn("data at ", self.shell("./program"))

    def test_every_section_is_known_and_every_block_runs(self):
        self.assertEqual(set(sections()), set(PREPARED))
        for title, blocks in sections().items():
            self.assertGreater(len(blocks), 0, title)
            for kind, _ in blocks:
                self.assertIn(kind, ("sh", "sh root", "c"), title)


for number, name in enumerate(PREPARED):
    setattr(Guide, "test_" + re.sub(r"\W+", "_", name.lower()),
            lambda self, title=name: self.run_section(title))

if __name__ == "__main__":
    sys.exit(unittest.main())
