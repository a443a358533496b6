#!/usr/bin/env python3
"""The same disks through vhdtool and through QEMU, 7-Zip and libvhdi (RELIABILITY T06).

    peers_test.py VHDTOOL [--images N] [--seed S]

Half of the images are written by vhdtool and read by every peer that can; half are written by
qemu-img and read by vhdtool. Then vhdtool and qemu-io take turns on one image. Contents are
compared by SHA-256. A peer that is not installed is left out, saying so; with none, exit code 77.

Peers' bugs that are known and therefore not asked of them:
  QEMU     no differencing (VHDX: ENOTSUP, VPC: reads gaps as zeros), no 4096-byte sectors; VPC
           sizes are exact only with force_size; fixed VPC must be named, it is probed as raw
  7-Zip    refuses a VHDX whose virtual size is an odd number of sectors, QEMU's like ours
  libvhdi  20210425: wrong parent sectors in differencing VHD, and in differencing VHDX with a
           block in state ZERO (7-Zip reads both as we do): asked for VHDX chains without zeroing
"""
import argparse
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
MIB = 1 << 20
SECTOR = 512

# Reads a whole disk through libvhdi; in a process of its own, as its crash would be ours.
LIBVHDI = """
import hashlib, sys, pyvhdi
files = [pyvhdi.file() for _ in sys.argv[1:]]
for file, name in zip(files, sys.argv[1:]):
    file.open(name)
for child, parent in zip(files, files[1:]):
    child.set_parent(parent)
digest, left = hashlib.sha256(), files[0].get_media_size()
while left:
    block = files[0].read_buffer(min(left, 1 << 20))
    if not block:
        sys.exit("short read")
    digest.update(block)
    left -= len(block)
print(digest.hexdigest())
"""


class Failed(Exception):
    pass


def call(*command, check=True):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    if check and done.returncode != 0:
        raise Failed("%s: exit code %d: %s" % (" ".join(command), done.returncode,
                                               done.stderr.decode("utf-8", "replace").strip()))
    return done


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(MIB), b""):
            digest.update(block)
    return digest.hexdigest()


class Peers:
    """What is installed here, and how each reads a disk."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.qemu = shutil.which("qemu-img") and shutil.which("qemu-io")
        self.seven = shutil.which("7z")
        self.python = None
        for python in (sys.executable, "/usr/bin/python3"):
            if os.path.exists(python) and call(python, "-c", "import pyvhdi",
                                               check=False).returncode == 0:
                self.python = python
                break

    def missing(self):
        named = (("qemu-img", self.qemu), ("7z", self.seven), ("libvhdi", self.python))
        return [name for name, there in named if not there]

    def by_qemu(self, path, form):
        out = os.path.join(self.scratch, "qemu.raw")
        call("qemu-img", "convert", "-f", form, "-O", "raw", path, out)
        digest = sha256_of(out)
        os.unlink(out)
        return digest

    def by_seven(self, path, form):
        kind = {"vpc": "-tVHD", "vhdx": "-tVHDX"}[form]
        with subprocess.Popen(["7z", "x", "-so", kind, path], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as child:
            digest = hashlib.sha256()
            for block in iter(lambda: child.stdout.read(MIB), b""):
                digest.update(block)
            said = child.stderr.read()
        if child.returncode != 0:
            raise Failed("7z: exit code %d: %s" % (child.returncode,
                                                   " ".join(said.decode().split())))
        return digest.hexdigest()

    def by_libvhdi(self, *chain):
        return call(self.python, "-c", LIBVHDI, *chain).stdout.decode().strip()


class Suite:
    def __init__(self, tool, scratch, seed):
        self.tool, self.scratch = tool, scratch
        self.random = random.Random(seed)
        self.peers = Peers(scratch)
        self.compared = {"qemu": 0, "7z": 0, "libvhdi": 0, "vhdtool": 0}

    def path(self, name):
        return os.path.join(self.scratch, name)

    def vhdtool(self, *arguments):
        return call(self.tool, *arguments)

    def raw(self, unit):
        """A raw disk: mostly holes, some data, some zeros that are written."""
        unit = self.random.choice([unit, 4096])
        size = self.random.randint(1, 24 * MIB // unit) * unit
        path = self.path("disk.raw")
        with open(path, "wb") as file:
            file.truncate(size)
            for _ in range(self.random.randint(0, 12)):
                length = self.random.choice([unit, 4096, 70000, MIB + 7])
                file.seek(self.random.randrange(size))
                left = min(length, size - file.tell())
                kind = self.random.random()
                file.write(bytes(left) if kind < 0.2 else self.random.randbytes(left))
        return path, size

    def same(self, who, read, wanted, what):
        """`read` gives the digest that this reader sees."""
        self.compared[who] += 1
        try:
            got = read()
        except Failed as failure:
            raise Failed("%s of %s: %s" % (who, what, failure)) from failure
        if got != wanted:
            raise Failed("%s reads %s differently" % (who, what))

    def ours_to_peers(self):
        form = self.random.choice(["vhd", "vhdx"])
        kind = self.random.choice(["fixed", "dynamic"])
        sector = 4096 if form == "vhdx" and self.random.random() < 0.2 else SECTOR
        raw, size = self.raw(sector)
        wanted = sha256_of(raw)
        image = self.path("ours." + form)
        options = ["--type", kind]
        if form == "vhdx":
            options += ["--logical-sector", str(sector)]
        if kind == "dynamic" or form == "vhdx":
            blocks = [1, 2, 8, 32] if form == "vhdx" else [0.5, 2, 4]
            options += ["--block-size", str(int(self.random.choice(blocks) * MIB))]
        self.vhdtool("convert", raw, image, "--from", "raw", "--to", form, *options)
        what = "%s %s %s of %d bytes" % (form, kind, " ".join(options), size)
        self.vhdtool("check", image)
        self.read_by_peers(image, form, sector, size, wanted, what)
        os.unlink(image)

    def read_by_peers(self, image, form, sector, size, wanted, what):
        driver = {"vhd": "vpc", "vhdx": "vhdx"}[form]
        if self.peers.qemu and sector == SECTOR:
            self.same("qemu", lambda: self.peers.by_qemu(image, driver), wanted, what)
            if form == "vhdx":
                call("qemu-img", "check", "-f", "vhdx", image)
        if self.peers.seven and self.seven_takes(form, size, sector):
            self.same("7z", lambda: self.peers.by_seven(image, driver), wanted, what)
        if self.peers.python:
            self.same("libvhdi", lambda: self.peers.by_libvhdi(image), wanted, what)

    @staticmethod
    def seven_takes(form, size, sector=SECTOR):
        return form == "vhd" or size % (2 * sector) == 0

    def chain_to_peers(self):
        """A chain of two to four of ours; the model is what vhdtool's own raw copy reads as,
        built beside it by writing the same ranges to a plain file."""
        form = self.random.choice(["vhd", "vhdx"])
        raw, size = self.raw(SECTOR)
        zeroing = self.random.random() < 0.5
        chain = [self.path("c0." + form)]
        self.vhdtool("convert", raw, chain[0], "--from", "raw", "--to", form)
        for level in range(1, self.random.randint(2, 4)):
            child = self.path("c%d.%s" % (level, form))
            self.vhdtool("create", child, "--type", "differencing", "--parent", chain[-1])
            self.vhdtool("io", child, *self.random_writes(raw, size, zeroing))
            chain.append(child)
        wanted = sha256_of(raw)
        what = "%s chain of %d" % (form, len(chain))
        copy = self.path("copy.raw")
        self.vhdtool("convert", chain[-1], copy, "--to", "raw")
        self.same("vhdtool", lambda: sha256_of(copy), wanted, what)
        self.vhdtool("check", "--chain", chain[-1])
        if self.peers.seven and self.seven_takes(form, size):
            driver = {"vhd": "vpc", "vhdx": "vhdx"}[form]
            self.same("7z", lambda: self.peers.by_seven(chain[-1], driver), wanted, what)
        if self.peers.python and form == "vhdx" and not zeroing:
            self.same("libvhdi", lambda: self.peers.by_libvhdi(*reversed(chain)), wanted, what)
        for path in chain + [copy]:
            os.unlink(path)

    def random_writes(self, raw, size, zeroing):
        commands = []
        with open(raw, "r+b") as file:
            for _ in range(self.random.randint(1, 8)):
                offset = self.random.randrange(size // SECTOR) * SECTOR
                length = min(size - offset, self.random.choice([512, 4096, 66048, 2 * MIB]))
                byte = self.random.randint(1, 255)
                if zeroing and self.random.random() < 0.5:
                    byte = 0
                file.seek(offset)
                file.write(bytes([byte]) * length)
                verb = "write -P %d %d %d" % (byte, offset, length)
                commands += ["-c", verb if byte else "zero %d %d" % (offset, length)]
        return commands

    def qemu_to_ours(self):
        form = self.random.choice(["vpc", "vhdx"])
        raw, _ = self.raw(SECTOR)
        wanted = sha256_of(raw)
        image = self.path("theirs." + ("vhd" if form == "vpc" else "vhdx"))
        kind = self.random.choice(["fixed", "dynamic"])
        options = "subformat=" + kind
        if form == "vpc":
            options += ",force_size=on"
        else:
            options += ",block_size=%dM" % self.random.choice([1, 2, 8, 16])
            options += ",block_state_zero=" + self.random.choice(["on", "off"])
            options += ",log_size=%dM" % self.random.choice([1, 2])
        call("qemu-img", "convert", "-f", "raw", "-O", form, "-o", options, raw, image)
        copy = self.path("copy.raw")
        self.vhdtool("convert", image, copy, "--to", "raw")
        self.same("vhdtool", lambda: sha256_of(copy), wanted, "%s %s" % (form, options))
        checked = call(self.tool, "check", image, check=False)
        if checked.returncode not in (0, 1):  # warnings, yes; errors, no
            raise Failed("check of %s %s: %s" % (form, options, checked.stdout.decode()))
        os.unlink(image)
        os.unlink(copy)

    def turns(self, form, count):
        """vhdtool and qemu-io write to one image by turns; each finds what the other wrote."""
        size = 40 * MIB
        image, raw = self.path("turns." + form), self.path("turns.raw")
        driver = {"vhd": "vpc", "vhdx": "vhdx"}[form]
        self.vhdtool("create", image, "--size", str(size), "--block-size", str(2 * MIB))
        with open(raw, "wb") as file:
            file.truncate(size)
        for turn in range(count):
            offset = self.random.randrange(size // SECTOR - 256) * SECTOR
            length = self.random.randint(1, 256) * SECTOR
            byte = self.random.randint(1, 255)
            verb = "write -P %d %d %d" % (byte, offset, length)
            if turn % 2 == 0:
                self.vhdtool("io", image, "-c", verb)
            else:
                call("qemu-io", "-f", driver, "-c", verb, image)
            with open(raw, "r+b") as file:
                file.seek(offset)
                file.write(bytes([byte]) * length)
        wanted = sha256_of(raw)
        what = "%s after %d turns" % (form, count)
        self.same("qemu", lambda: self.peers.by_qemu(image, driver), wanted, what)
        copy = self.path("copy.raw")
        self.vhdtool("convert", image, copy, "--to", "raw")
        self.same("vhdtool", lambda: sha256_of(copy), wanted, what)
        self.vhdtool("check", image)
        os.unlink(copy)

    def run(self, images):
        for number in range(images):
            kind = number % 8
            if kind == 7 and (self.peers.seven or self.peers.python):
                self.chain_to_peers()
            elif kind % 2 == 0 or not self.peers.qemu:
                self.ours_to_peers()
            else:
                self.qemu_to_ours()
        if self.peers.qemu:
            self.turns("vhdx", 50)
            self.turns("vhd", 50)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("vhdtool")
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openvhd-peers-") as scratch:
        suite = Suite(os.path.abspath(given.vhdtool), scratch, given.seed)
        missing = suite.peers.missing()
        for name in missing:
            print("left out, not installed: " + name)
        if len(missing) == 3:
            print("skipped: no peer is installed")
            return SKIPPED
        try:
            suite.run(given.images)
        except Failed as failure:
            print("FAILED with seed %d: %s" % (given.seed, failure))
            return 1
        print("%d images; comparisons: %s" % (given.images, suite.compared))
    return 0


if __name__ == "__main__":
    sys.exit(main())
