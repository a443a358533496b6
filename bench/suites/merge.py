"""Merging beside a plain copy of the bytes that have to move."""

import os

from suites.common import GIB, MIB, leave_cache, make_dense, remove, run, settle, verify_equal
from suites.convert import Contender, Convert, print_rows, row_json

PARTS = ("merge",)


class Merge(Convert):
    """A child that stores every other MiB of a disk whose parent stores all of it."""

    def run(self, parts):
        print("speed: the copy's time over this line's, median of the rounds' ratios")
        for part in parts:
            getattr(self, part)()
        print("\nall together")
        print_rows(self.rows)
        return [row_json(what, contenders) for what, contenders in self.rows]

    def merge(self):
        size = (256 * MIB) if self.options.quick else 2 * GIB
        for form in ("vhdx", "vhd"):
            self.one_format(form, size)

    def one_format(self, form, size):
        raw, bytes_to_move = self.path("all.raw"), self.path("bytes.raw")
        base, child = self.path(f"base.{form}"), self.path(f"child.{form}")
        kept_base, kept_child = base + ".kept", child + ".kept"
        copied, wanted = self.path("copied.raw"), self.path("wanted.raw")
        make_dense(raw, size)
        make_dense(bytes_to_move, size // 2)
        run(self.vhdtool("convert", raw, base, "--from", "raw", "--to", form))
        run(self.vhdtool("create", child, "--parent", base))
        for first in range(0, size // MIB, 1024):
            commands = []
            for at in range(first, min(first + 1024, size // MIB), 2):
                commands += ["-c", f"write -P {1 + at % 250} {at}M 1M"]
            run(self.vhdtool("io", child, *commands))
        run(self.vhdtool("convert", child, wanted, "--to", "raw"))
        os.rename(base, kept_base)
        os.rename(child, kept_child)
        copy = Contender("direct copy of the bytes", self.direct(bytes_to_move, copied))
        merge = Contender("vhdtool merge", self.vhdtool("merge", child, "--no-reflink"))
        for number in range(self.options.rounds):
            for contender in (copy, merge) if number % 2 == 0 else (merge, copy):
                for kept, path in ((kept_base, base), (kept_child, child)):
                    remove(path)
                    run(["cp", "--sparse=always", kept, path])
                    leave_cache(path)
                leave_cache(bytes_to_move)
                remove(copied)
                settle(self.options.workdir)
                self.measure(contender)
                contender.stored.append(size // 2)
                if number == 0 and contender is merge:
                    qemu = "vpc" if form == "vhd" else form
                    verify_equal("merge", wanted, "raw", base, qemu)
        self.rows.append((f"{size // (2 * MIB)} MiB into a full {form}", [copy, merge]))
        print_rows([self.rows[-1]])
        for path in (raw, bytes_to_move, base, child, kept_base, kept_child, copied, wanted):
            remove(path)
