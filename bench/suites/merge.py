"""Merging beside a plain copy of the bytes that have to move, and beside requests."""

import json
import os
import shlex
import statistics

from suites.common import GIB, MIB, leave_cache, make_dense, remove, run, settle, verify_equal
from suites.convert import Contender, Convert, print_rows, row_json

PARTS = ("merge", "online")
# What requests keep of their rate beside a merge: at full speed, and with a limit.
KEEPS, KEEPS_LIMITED = 0.80, 0.95
LIMIT = "16M"


class Merge(Convert):
    """A child that stores every other MiB of a disk whose parent stores all of it."""

    def run(self, parts):
        print("speed: the copy's time over this line's, median of the rounds' ratios")
        for part in parts:
            getattr(self, part)()
        print("\nall together")
        print_rows(self.rows)
        for row in self.online_rows:
            print(f"{row['title']:<52} {row['value']:>10.3f}  {row['aim']} "
                  f"{'reached' if row['reached'] else 'NOT REACHED'}")
        return [row_json(what, contenders) for what, contenders in self.rows] + self.online_rows

    online_rows = ()

    def online(self):
        """What requests lose while the layers of their disk change. For each round new images."""
        self.online_rows = []
        beside = {"merge of the leaf": (["merge"], KEEPS), "merge of the leaf, limited":
                  (["merge", "--online-rate", LIMIT], KEEPS_LIMITED)}
        ratios = {name: [] for name in beside}
        stalls = []
        for number in range(self.options.rounds):
            alone = self.requests(self.two_layers(), "write")["requests_per_second"]
            for name, (work, _) in beside.items():
                found = self.requests(self.two_layers(), "write", "--online", *work)
                ratios[name].append(found["requests_per_second"] / alone)
                if number == 0:
                    print(f"{name}: {found['online']['done']} done, "
                          f"{found['online']['bytes'] // MIB} MiB moved in "
                          f"{found['online']['seconds']:.1f} s")
            flushes = self.requests(self.two_layers(), "write", "--depth", "1",
                                    "--flush-every", "1")
            # Every other request of these is a flush.
            flush = flushes["latency_ns"]["p90"]
            found = self.requests(self.two_layers(), "read", "--online", "checkpoint")
            stalls.append(found["latency_ns"]["p99_9"] / flush)
        for name, (_, keeps) in beside.items():
            value = statistics.median(ratios[name])
            self.online_rows.append({"title": f"requests kept beside: {name}", "value": value,
                                     "values": ratios[name], "aim": f"at least {keeps:.2f}",
                                     "reached": value >= keeps})
        value = statistics.median(stalls)
        self.online_rows.append({"title": "checkpoints: p99.9 of requests, in flush times",
                                 "value": value, "values": stalls, "aim": "at most 2.00",
                                 "reached": value <= 2})
        for path in (self.path("live.vhdx"), self.path("below.vhdx")):
            remove(path)

    def two_layers(self):
        """A child that stores all of a disk, over a parent that does too."""
        size = (128 * MIB) if self.options.quick else 4 * GIB
        base, child = self.path("below.vhdx"), self.path("live.vhdx")
        for name in os.listdir(self.options.workdir):
            if name.startswith(("live", "below")):
                os.remove(self.path(name))
        raw = self.path("live.raw")
        make_dense(raw, size)
        run(self.vhdtool("convert", raw, base, "--from", "raw", "--to", "vhdx"))
        run(self.vhdtool("create", child, "--parent", base))
        run(self.vhdtool("bench", child, "--destroy", "--mode", "alloc", "--block", "1M",
                         "--depth", "4", "--count", str(size // (2 * MIB))))
        remove(raw)
        leave_cache(child)
        leave_cache(base)
        settle(self.options.workdir)
        return child

    def requests(self, image, mode, *more):
        seconds = "2" if self.options.quick else "10"
        return json.loads(run(self.vhdtool("bench", image, "--destroy", "--json", "--mode", mode,
                                           "--time", seconds, *more))[0])

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
