"""Merging beside a plain copy of the bytes that have to move."""

import os
import shlex

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
        keep = Contender("vhdtool merge --keep",
                         self.vhdtool("merge", child, "--no-reflink", "--keep"))
        # A merge also removes the child, and a host may take its time to free, or discard, that.
        words = " ".join(map(shlex.quote, self.direct(bytes_to_move, copied)))
        move = Contender("direct copy, child removed",
                         ["sh", "-c", f"{words} && rm {shlex.quote(child)}"])
        merge = Contender("vhdtool merge", self.vhdtool("merge", child, "--no-reflink"))
        contenders = [copy, keep, move, merge]
        for number in range(self.options.rounds):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                for kept, path in ((kept_base, base), (kept_child, child)):
                    remove(path)
                    run(["cp", "--sparse=always", kept, path])
                    leave_cache(path)
                leave_cache(bytes_to_move)
                remove(copied)
                settle(self.options.workdir)
                self.measure(contender)
                contender.stored.append(size // 2)
                if number == 0 and contender in (keep, merge):
                    qemu = "vpc" if form == "vhd" else form
                    verify_equal("merge", wanted, "raw", base, qemu)
        what = f"{size // (2 * MIB)} MiB into a full {form}"
        self.rows += [(what + ", child kept", [copy, keep]), (what, [move, merge])]
        print_rows(self.rows[-2:])
        for path in (raw, bytes_to_move, base, child, kept_base, kept_child, copied, wanted):
            remove(path)
