"""Whole programs over the same work: info, create and convert, by time and memory.

Every result is compared with its source once, in the first round; a wrong or failed one ends the
run.
"""

import os
import random
import re
import statistics
import subprocess
import sys

from suites.common import GIB, MIB, make_dense, noise, remove, run, settle, verify_equal
from suites.ram_disk import RamDisk, available_memory

COPY_OF_VHDX = "direct copy of the VHDX"
PARTS = ("info", "create", "sparse", "dense", "ram", "reflink")


class Contender:
    """One way to do the work: its command, its measurements."""

    def __init__(self, name, command):
        self.name = name
        self.command = command
        self.seconds = []
        self.peak_kib = []
        self.stored = []


class Convert:
    def __init__(self, options):
        self.options = options
        self.place = ""
        self.rows = []

    def run(self, parts):
        print("speed: the first line's time over this line's, median of the rounds' ratios")
        for part in parts:
            getattr(self, part)()
        print("\nall together")
        print_rows(self.rows)
        return [row_json(what, contenders) for what, contenders in self.rows]

    def path(self, name):
        return os.path.join(self.options.workdir, name)

    def vhdtool(self, *arguments):
        return [self.options.vhdtool, *arguments]

    def direct(self, *arguments):
        return [os.path.join(self.options.tools, "direct_copy"), *arguments]

    def measure(self, contender):
        run = subprocess.run([os.path.join(self.options.tools, "measure"), *contender.command],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                             check=False)
        found = re.search(r"seconds=([0-9.]+) peak_kib=([0-9]+) status=([0-9]+)\s*$", run.stderr)
        if not found or found[3] != "0":
            sys.exit(f"{' '.join(contender.command)}\n{run.stderr}")
        contender.seconds.append(float(found[1]))
        contender.peak_kib.append(int(found[2]))

    def rounds(self, what, contenders, target=None, verify=None):
        """Interleaved, each round beginning with another contender; targets start absent."""
        for number in range(self.options.rounds):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                if target:
                    remove(target)
                    settle(self.options.workdir)
                self.measure(contender)
                if target:
                    contender.stored.append(os.stat(target).st_blocks * 512)
                if number == 0 and verify:
                    verify(contender)
        if target:
            remove(target)
        self.rows.append((what, contenders))
        print_rows([self.rows[-1]])

    def info(self):
        image = self.path("info.vhdx")
        run(self.vhdtool("create", image, "--size", "64T", "--block-size", "1M"))
        self.rounds("info, VHDX of 64 TiB with 1 MiB blocks", [
            Contender("vhdtool info", self.vhdtool("info", image)),
            Contender("qemu-img info", ["qemu-img", "info", image])])
        remove(image)

    def create(self):
        image = self.path("create.vhdx")
        self.rounds("create, VHDX of 64 TiB with 1 MiB blocks", [
            Contender("vhdtool create",
                      self.vhdtool("create", image, "--size", "64T", "--block-size", "1M")),
            Contender("qemu-img create", ["qemu-img", "create", "-q", "-f", "vhdx", "-o",
                                          "block_size=1M", image, "64T"])], target=image)

    def convert(self, what, make, sparse):
        raw, vhdx = self.path("source.raw"), self.path("source.vhdx")
        make(raw)
        to_vhdx, to_raw = self.path("target.vhdx"), self.path("target.raw")
        copy = ["--sparse"] if sparse else []

        def same(path, form):
            return lambda contender: verify_equal(contender.name, raw, "raw", path, form)

        def verify_vhdx(contender):
            is_copy = contender.command[0].endswith("direct_copy")
            same(to_vhdx, "raw" if is_copy else "vhdx")(contender)

        def verify_raw(contender):
            if contender.name != COPY_OF_VHDX:  # that one is no raw disk
                same(to_raw, "raw")(contender)

        self.rounds(f"{what}{self.place}, raw -> VHDX", [
            Contender("direct copy, depth 8", self.direct(*copy, raw, to_vhdx)),
            Contender("vhdtool convert", self.vhdtool(
                "convert", raw, to_vhdx, "--from", "raw", "--to", "vhdx")),
            *qemu_convert("raw", raw, "vhdx", to_vhdx)], target=to_vhdx, verify=verify_vhdx)
        run(self.vhdtool("convert", raw, vhdx, "--from", "raw", "--to", "vhdx"))
        self.rounds(f"{what}{self.place}, VHDX -> raw", [
            Contender("direct copy, depth 8", self.direct(*copy, raw, to_raw)),
            Contender("vhdtool convert", self.vhdtool("convert", vhdx, to_raw, "--to", "raw")),
            # The same bytes from where the VHDX has them: what the place on the disk costs.
            Contender(COPY_OF_VHDX, self.direct(*copy, vhdx, to_raw)),
            *qemu_convert("vhdx", vhdx, "raw", to_raw)], target=to_raw, verify=verify_raw)
        remove(raw)
        remove(vhdx)

    def sparse(self):
        self.convert("4 GiB with 1.5 GiB of data", make_sparse, True)

    def dense(self):
        self.convert("4 GiB, dense", lambda path: make_dense(path, 4 * GIB), False)

    def ram(self):
        """Sparse and dense once more, where no disk's own moods are in the figures."""
        if available_memory() < 16 * GIB:  # three files of 4 GiB, and what else goes on
            print("ram: skipped, 16 GiB of memory are not free")
            return
        outside = self.options.workdir
        with RamDisk(outside) as disk:
            if disk.device is None:
                print(f"ram: skipped, {disk.what}")
                return
            try:
                self.options.workdir, self.place = disk.folder, " on zram"
                self.sparse()
                self.dense()
            finally:
                self.options.workdir, self.place = outside, ""

    def reflink(self):
        if os.geteuid() != 0:
            print("reflink: skipped, mounting needs root")
            return
        disk, mount = self.path("xfs.img"), self.path("xfs")
        with open(disk, "wb") as file:
            file.truncate(20 * GIB)
        run(["mkfs.xfs", "-q", "-m", "reflink=1", disk])
        os.makedirs(mount, exist_ok=True)
        run(["mount", "-o", "loop", disk, mount])
        outside = self.options.workdir
        try:
            self.options.workdir = mount
            self.reflink_rounds()
        finally:
            self.options.workdir = outside
            run(["umount", mount])
            os.rmdir(mount)
            remove(disk)

    def reflink_rounds(self):
        raw, vhdx = self.path("source.raw"), self.path("source.vhdx")
        make_dense(raw, 2 * GIB)
        run(self.vhdtool("convert", raw, vhdx, "--from", "raw", "--to", "vhdx"))
        for source, source_form, target_form, qemu_form in (
                (raw, "raw", "vhdx", "vhdx"), (vhdx, "vhdx", "raw", "raw"),
                (raw, "raw", "vhd", "vpc")):
            target = self.path(f"target.{target_form}")

            def verify(contender, target=target, form=qemu_form):
                is_copy = contender.command[0] == "cp"
                verify_equal(contender.name, raw, "raw", target, "raw" if is_copy else form)

            self.rounds(f"XFS, 2 GiB of data, {source_form} -> {target_form}", [
                Contender("cp --reflink (same format)", ["cp", "--reflink=always", raw, target]),
                Contender("vhdtool convert", self.vhdtool(
                    "convert", source, target, "--from", source_form, "--to", target_form)),
                *qemu_convert(source_form, source, qemu_form, target)],
                target=target, verify=verify)
        remove(raw)
        remove(vhdx)


def qemu_convert(source_form, source, target_form, target):
    """QEMU's direct modes: as it comes, and with many writes out of order."""
    command = ["qemu-img", "convert", "-T", "none", "-t", "none", "-f", source_form,
               "-O", target_form]
    if target_form == "vpc":
        command += ["-o", "force_size=on"]
    return [Contender("qemu-img convert", [*command, source, target]),
            Contender("qemu-img convert -W -m 16", [*command, "-W", "-m", "16", source, target])]


def make_sparse(path):
    """4 GiB; 1.5 GiB of it data, in runs of 64 KiB to 8 MiB with gaps between."""
    state = random.Random(1)
    data, left, at = int(1.5 * GIB), 4 * GIB, 0
    with open(path, "wb") as file:
        file.truncate(4 * GIB)
        while data > 0:
            length = min(data, 65536 << state.randrange(8))
            gap = int((left - data) * min(1.0, length / data) * state.uniform(0.5, 1.5)) & -4096
            at += min(gap, left - data)
            file.seek(at)
            file.write(noise(state, length))
            left -= min(gap, left - data) + length
            at += length
            data -= length
    settle(os.path.dirname(path))


def print_rows(rows):
    for what, contenders in rows:
        print(f"\n{what} (median of {len(contenders[0].seconds)})")
        print(f"  {'':28} {'seconds':>9} {'from':>9} {'to':>9} {'speed':>7} {'peak MiB':>9} "
              f"{'stored MiB':>10}")
        for one in contenders:
            median = statistics.median(one.seconds)
            ratio = statistics.median(a / b for a, b in zip(contenders[0].seconds, one.seconds))
            stored = f"{statistics.median(one.stored) / MIB:10.1f}" if one.stored else " " * 10
            print(f"  {one.name:28} {median:9.4f} {min(one.seconds):9.4f} {max(one.seconds):9.4f} "
                  f"{ratio:7.3f} {max(one.peak_kib) / 1024:9.1f} {stored}", flush=True)


def row_json(what, contenders):
    return {"title": what, "contenders": [
        {"name": one.name, "seconds": one.seconds, "peak_kib": one.peak_kib,
         "stored_bytes": one.stored} for one in contenders]}
