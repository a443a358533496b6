"""The files that the queue suite works on, made once and kept until it ends."""

import os
import shutil

from suites.common import MIB, leave_cache, make_dense, make_hole, remove, run


class Images:
    """In `folder`; full of data that does not compress. `size` of each disk."""

    def __init__(self, vhdtool, folder, size):
        self.vhdtool = vhdtool
        self.folder = folder
        self.size = size

    def path(self, name):
        return os.path.join(self.folder, name)

    def _once(self, name, make):
        path = self.path(name)
        if not os.path.exists(path):
            make(path)
            leave_cache(path)
        return path

    def raw(self):
        return self._once("full.raw", lambda path: make_dense(path, self.size))

    def full(self, form):
        """A dynamic image, every block of it stored."""
        return self._once(f"full.{form}", lambda path: run(
            [self.vhdtool, "convert", self.raw(), path, "--from", "raw", "--to", form]))

    def qcow2(self):
        return self._once("full.qcow2", lambda path: run(
            ["qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", self.raw(), path]))

    def copy_for_qemu(self, path):
        """QEMU writes what compresses well: it gets files of its own to write into."""
        folder, name = os.path.split(path)

        def make(copy):
            shutil.copyfile(path, copy)
        return self._once(os.path.join(folder, "qemu-" + name), make)

    def chain(self, depth, spread):
        """The last of `depth` files; the data in the base, or blocks of it in every layer."""
        kind = "spread" if spread else "base"
        last = self.path(f"{kind}-{depth}.vhdx")
        if os.path.exists(last):
            return last
        below = self.path(f"{kind}-1.vhdx")
        run([self.vhdtool, "convert", self.raw(), below, "--from", "raw", "--to", "vhdx"])
        leave_cache(below)
        blocks = max(1, self.size // (2 * MIB) // depth)
        for number in range(2, depth + 1):
            child = self.path(f"{kind}-{number}.vhdx")
            run([self.vhdtool, "create", child, "--parent", below])
            if spread:
                run([self.vhdtool, "bench", child, "--mode", "write", "--range", "disk", "--block",
                     "2M", "--depth", "4", "--count", str(blocks), "--seed", str(number),
                     "--destroy"])
            leave_cache(child)
            below = child
        return last

    def qcow2_chain(self, depth):
        last = self.path(f"chain-{depth}.qcow2")
        below = self.qcow2()
        if os.path.exists(last):
            return last
        for number in range(2, depth + 1):
            child = self.path(f"chain-{number}.qcow2")
            run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", child])
            below = child
        return last

    def forget(self, *beginnings):
        for name in os.listdir(self.folder):
            if name.startswith(beginnings):
                remove(self.path(name))

    def empty(self, form, size, block):
        """A function that makes a new, empty disk of that kind at a path."""
        def make(path):
            remove(path)
            if form == "raw":
                make_hole(path, size)
            elif form == "qcow2":
                run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(size)])
            elif form == "vhd":
                run([self.vhdtool, "create", path, "--size", str(size)])
            else:
                run([self.vhdtool, "create", path, "--size", str(size), "--block-size",
                     str(block)])
            leave_cache(path)
        return make
