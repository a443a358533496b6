"""The rows of the queue suite that are timed, each against its yardstick in the same round."""

import os

from suites.common import GIB, MIB
from suites.loads import Fio, Ours, Qemu, Ring, Shape, exists
from suites.rows import Contender, measure_speed

BARE = "bare io_uring, raw file"
QEMU_FORMS = {"vhdx": "vhdx", "vhd": "vpc"}
NAMES = {"vhdx": "VHDX", "vhd": "VHD"}


class SpeedRows:
    def __init__(self, options, images, workdir):
        self.options = options
        self.images = images
        self.workdir = workdir
        self.alloc_size = (512 * MIB) if options.quick else 8 * GIB

    def ring(self, path, shape, make=None):
        return Ring(os.path.join(self.options.tools, "raw_ring"), path, shape, make)

    def ours(self, path, shape, make=None):
        return Ours(self.options.vhdtool, path, shape, make)

    def mapped(self, form, mode, depth, target):
        """4k at random in a dynamic image that is all there, against a raw file that is."""
        shape = Shape(mode, depth=depth)
        raw, image = self.images.raw(), self.images.full(form)
        qemu_raw, qemu_image = raw, image
        if mode == "write":
            qemu_raw, qemu_image = map(self.images.copy_for_qemu, (raw, image))
        size = self.images.size
        contenders = [
            Contender(BARE, self.ring(raw, shape)),
            Contender(f"vhdtool bench, {NAMES[form]}", self.ours(image, shape), against=BARE,
                      target=target),
            Contender("qemu-img bench, raw", Qemu(qemu_raw, "raw", shape, size), against=BARE),
            Contender(f"qemu-img bench, {NAMES[form]}",
                      Qemu(qemu_image, QEMU_FORMS[form], shape, size), against=BARE)]
        if exists("fio"):
            contenders.append(Contender("fio, raw file", Fio(qemu_raw, shape), against=BARE))
        row = measure_speed(f"{NAMES[form]} dynamic, mapped 4k random {mode}, depth {depth}",
                            contenders, self.options)
        self.images.forget("qemu-")
        return row

    def chain(self):
        shape = Shape("read")
        one = "vhdtool bench, one VHDX"
        qcow2 = "qemu-img bench, one qcow2"
        size = self.images.size
        row = measure_speed("chain of 32 files, 4k random read, depth 32", [
            Contender(one, self.ours(self.images.full("vhdx"), shape)),
            Contender("vhdtool bench, 32, data in the base",
                      self.ours(self.images.chain(32, False), shape), against=one, target=0.95),
            Contender("vhdtool bench, 32, data in all",
                      self.ours(self.images.chain(32, True), shape), against=one, target=0.95),
            Contender(qcow2, Qemu(self.images.qcow2(), "qcow2", shape, size)),
            Contender("qemu-img bench, 32, data in the base",
                      Qemu(self.images.qcow2_chain(32), "qcow2", shape, size), against=qcow2),
        ], self.options)
        self.images.forget("base-", "spread-", "chain-")
        return row

    def two_queues(self):
        """What the machine gives is the bare ring's own gain; ours is to be compared with it."""
        cpus = self.options.two_cpus
        if cpus is None:
            print("\ntwo queues on two cores: skipped, there is one")
            return None
        image, raw = self.images.full("vhdx"), self.images.raw()
        one, ring = "vhdtool bench, 1 queue", "bare io_uring, 1 ring"
        return measure_speed("two queues on two cores against one, VHDX, mapped 4k random read", [
            Contender(ring, self.ring(raw, Shape("read"))),
            Contender("bare io_uring, 2 rings", self.ring(raw, Shape("read", queues=2)),
                      against=ring),
            Contender(one, self.ours(image, Shape("read"))),
            Contender("vhdtool bench, 2 queues", self.ours(image, Shape("read", queues=2)),
                      against=one, target=1.8)], self.options, cpus=cpus)

    def new_blocks(self, title, folder, shape, count, target):
        """Each request in a new MiB of an empty disk, in order."""
        size, images = self.alloc_size, self.images

        def at(name):
            return os.path.join(folder, name)

        row = measure_speed(title, [
            Contender(BARE.replace("raw", "sparse raw"), self.ring(
                at("new.raw"), shape, images.empty("raw", size, MIB))),
            Contender("vhdtool bench, VHDX", self.ours(
                at("new.vhdx"), shape, images.empty("vhdx", size, MIB)),
                      against=BARE.replace("raw", "sparse raw"), target=target),
            *(Contender(f"qemu-img bench, {form}",
                        Qemu(at(f"new-qemu.{form}"), form, shape, size,
                             images.empty(form, size, MIB)),
                        against=BARE.replace("raw", "sparse raw"))
              for form in ("raw", "vhdx", "qcow2"))], self.options, count=count)
        for name in os.listdir(folder):
            if name.startswith("new"):
                os.unlink(at(name))
        return row

    def alloc(self):
        shape = Shape("alloc", spacing=MIB, sequential=True)
        return self.new_blocks("allocating 4k writes, each in a new block, depth 32, no flush",
                               self.images.folder, shape, self.alloc_size // MIB, 0.80)

    def durable(self, folder, where):
        shape = Shape("alloc", depth=1, spacing=MIB, sequential=True, flush_every=1)
        return self.new_blocks(f"durable 4k writes, each in a new block, depth 1, on {where}",
                               folder, shape, 64 if self.options.quick else 512, 0.60)
