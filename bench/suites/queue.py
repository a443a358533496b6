"""Queues against a bare ring, fio and QEMU, on a RAM block device where one can be made."""

import os

from suites.common import GIB, MIB
from suites.counts import CountRows
from suites.images import Images
from suites.meters import Meters
from suites.ram_disk import RamDisk, available_memory
from suites.speed import SpeedRows

# Reads come first: what writes leave in the images may be easier to read.
PARTS = ("mapped-read", "chain", "two-queues", "mapped-write", "alloc", "durable", "instructions",
         "calls", "system-calls", "syncs", "written")


class Queue:
    def __init__(self, options):
        self.options = options
        cpus = sorted(os.sched_getaffinity(0))
        options.cpu = str(cpus[-1])
        options.two_cpus = f"{cpus[-2]},{cpus[-1]}" if len(cpus) > 1 else None
        options.seconds = 1 if options.quick else 2

    def run(self, parts):
        options = self.options
        with RamDisk(options.workdir) as disk:
            print(f"queues: files on {disk.what}; processor {options.cpu}; ratio: to the "
                  "yardstick of its row, median of the rounds' ratios")
            small = options.quick or available_memory() < 12 * GIB
            size = 64 * MIB if options.quick else 256 * MIB if small else GIB
            images = Images(options.vhdtool, disk.folder, size)
            self.speed = SpeedRows(options, images, options.workdir)
            self.counts = CountRows(options, images, disk, Meters(options.cpu, options.tools))
            self.place = disk.what
            rows = [row for part in parts for row in self.part(part) if row]
        return rows

    def part(self, part):
        speed, counts = self.speed, self.counts
        if part.startswith("mapped-"):
            mode = part.removeprefix("mapped-")
            for depth in (32, 1):
                for form, target in (("vhdx", 0.95), ("vhd", 0.95 if mode == "read" else 0.90)):
                    yield speed.mapped(form, mode, depth, target if depth == 32 else None)
        elif part == "durable":
            yield speed.durable(speed.images.folder, self.place)
            if speed.images.folder != speed.workdir:
                yield speed.durable(speed.workdir, "WORKDIR")
        else:
            rows = {"chain": speed.chain, "two-queues": speed.two_queues, "alloc": speed.alloc,
                    "instructions": counts.instructions, "calls": counts.calls,
                    "system-calls": counts.system_calls, "syncs": counts.syncs,
                    "written": counts.written}
            yield rows[part]()
