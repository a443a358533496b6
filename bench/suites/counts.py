"""The rows of the queue suite that are counted: they say the same on a busy machine."""

import os

from suites.common import GIB, MIB
from suites.loads import Ours, Qemu, Ring, Shape
from suites.meters import FUTEX, SYNCS, SYSTEM_CALLS
from suites.rows import Count, count_row

QEMU_FORMS = {"vhdx": "vhdx", "vhd": "vpc", "qcow2": "qcow2"}


class CountRows:
    def __init__(self, options, images, disk, meters):
        self.options = options
        self.images = images
        self.disk = disk
        self.meters = meters

    def ring(self, shape):
        return Ring(os.path.join(self.options.tools, "raw_ring"), self.images.raw(), shape)

    def ours(self, form, shape):
        return Ours(self.options.vhdtool, self.images.full(form), shape)

    def qemu(self, form, shape):
        path = self.images.raw() if form == "raw" else self.images.full(form)
        return Qemu(path, QEMU_FORMS.get(form, form), shape, self.images.size)

    def instructions(self):
        shape = Shape("read")
        count = 300 if self.options.quick else 3000
        bare, how = self.meters.instructions(self.ring(shape), count)
        counts = [Count("bare io_uring, raw file, in all", bare, note=how)]
        loads = [(f"vhdtool bench, {form}", self.ours(form, shape),
                  100 if form == "vhdx" else None) for form in ("vhdx", "vhd")]
        loads += [(f"qemu-img bench, {form}", self.qemu(form, shape), None)
                  for form in ("raw", "vhdx")]
        for name, load, target in loads:
            found, how = self.meters.instructions(load, count)
            counts.append(Count(f"{name}, above that", found - bare, target=target,
                                note=f"{found:.0f} in all, {how}"))
        return count_row("user-space instructions per mapped 4k read, depth 32", counts)

    def calls(self):
        count = 20000 if self.options.quick else 200000
        counts = []
        for form in ("vhdx", "vhd"):
            for mode in ("read", "write"):
                load = self.ours(form, Shape(mode))
                allocations, locks = self.meters.calls(load, count)
                futex = self.meters.events(load, count, [FUTEX])[0][FUTEX]
                more = f"{'?' if futex is None else futex} futex calls"
                counts.append(Count(f"heap allocations per {mode}, {form}", allocations / count,
                                    target=0, note=f"{allocations} in {count}"))
                counts.append(Count(f"locks per {mode}, {form}", locks / count, target=0,
                                    note=f"{locks} in {count}; {more}"))
        return count_row("heap allocations and locks per mapped 4k request, depth 32", counts)

    def system_calls(self):
        count = 10000 if self.options.quick else 100000
        counts = []

        def add(name, load, number, target=None):
            found, (_, sample) = self.meters.events(load, number, [SYSTEM_CALLS])
            note = ""
            if "queue" in sample.report:
                own = sample.report["queue"]["submissions"] / sample.requests
                note = f"{own:.3f} by the queue's own counter"
            counts.append(Count(name, found[SYSTEM_CALLS] / number, target=target, note=note))

        for mode in ("read", "write"):
            shape = Shape(mode)
            add(f"bare io_uring, {mode}, raw file", self.ring(shape), count)
            for form in ("vhdx", "vhd"):
                add(f"vhdtool bench, {mode}, {form}", self.ours(form, shape), count, target=0.1)
            for form in ("raw", "vhdx"):
                add(f"qemu-img bench, {mode}, {form}", self.qemu(form, shape), count // 10)
        return count_row("system calls per mapped 4k request, depth 32", counts)

    def syncs(self):
        """Each write in a new block, and a flush after each. Two witnesses, of which the one that
        saw more is believed: a device without a write cache needs no sync for RWF_DSYNC, and a
        program counts only what it knows of."""
        count = 16 if self.options.quick else 128
        shape = Shape("alloc", depth=1, spacing=MIB, sequential=True, flush_every=1)
        size = 4 * count * MIB
        loads = [("vhdtool bench, vhdx", 2, Ours(
            self.options.vhdtool, self.images.path("new.vhdx"), shape,
            self.images.empty("vhdx", size, MIB)))]
        for form in ("vhdx", "qcow2"):
            loads.append((f"qemu-img bench, {form}", None, Qemu(
                self.images.path(f"new-qemu.{form}"), form, shape, size,
                self.images.empty(form, size, MIB))))
        counts = []
        for name, target, load in loads:
            found, samples = self.meters.events(load, count, [SYNCS])
            seen = None if found[SYNCS] is None else found[SYNCS] / count
            note, value = "", seen
            if "image" in samples[0].report:
                first, second = (sample.report["image"]["syncs"] +
                                 sample.report["image"]["durable_writes"] for sample in samples)
                own = (second - first) / count
                told = "not" if seen is None else f"{seen:.3f}"
                note = f"{told} seen by the kernel, {own:.3f} by the image's own counters"
                value = max(value or 0, own)
            counts.append(Count(name, value, target=target, note=note))
        self.images.forget("new")
        return count_row("syncs per flush, one flush after each 4k write in a new block "
                         "(RWF_DSYNC counts as one)", counts)

    def written(self):
        """From the empty image to the closed one."""
        count = 64 if self.options.quick else 2048
        shape = Shape("alloc", spacing=2 * MIB, flush_every=32)
        size, block = 64 * GIB, 2 * MIB
        empty, path = self.images.empty, self.images.path
        loads = [
            ("bare io_uring, sparse raw file", None, Ring(
                os.path.join(self.options.tools, "raw_ring"), path("new.raw"), shape,
                empty("raw", size, block))),
            ("vhdtool bench, vhdx", 3, Ours(
                self.options.vhdtool, path("new.vhdx"), shape, empty("vhdx", size, block))),
            *((f"qemu-img bench, {form}", None, Qemu(
                path(f"new-qemu.{form}"), form, shape, size, empty(form, size, block)))
              for form in ("vhdx", "qcow2"))]
        counts = [self.written_by(name, target, load, count) for name, target, load in loads]
        self.images.forget("new")
        return count_row("bytes written to the host per byte of 4k writes, each at random in a new "
                         "2 MiB block of a 64 GiB disk, a flush every 32", counts)

    def written_by(self, name, target, load, count):
        load.prepare()
        os.sync()
        before = self.disk.written_bytes() if self.disk.device else None
        sample, _ = load.run(self.options.cpu, count=count)
        os.sync()
        load.verify()
        own, note = None, ""
        if "image" in sample.report:
            image, written = sample.report["image"], sample.requests * 4096
            own = (image["payload_bytes"] + image["metadata_write_bytes"]) / written
            note = f"{own:.2f} by the image's own counters"
        value = None
        if before is not None:
            value = (self.disk.written_bytes() - before) / (count * 4096)
            note = f"the device's count, with the file system's journal; {note or '-'}"
        return Count(name, own if value is None else value, target=target, note=note)
