"""Ways to send the same requests: through vhdtool, a bare ring, fio and QEMU.

A load has a command line for so many requests or so many seconds, and knows what its program says
afterwards. All run on the processors that they are given, and on nothing else.
"""

import json
import os
import re

from suites.common import run


class Sample:
    """What one run did: requests, seconds, and the program's own report."""

    def __init__(self, requests, seconds, report=None):
        self.requests = requests
        self.seconds = seconds
        self.report = report or {}

    @property
    def rate(self):
        return self.requests / self.seconds


class Shape:
    """Which requests. `spacing`: each goes to a new stretch of so many bytes, in order or not."""

    def __init__(self, mode="read", *, depth=32, block=4096, spacing=0, sequential=False,
                 flush_every=0, queues=1):
        self.mode = mode
        self.depth = depth
        self.block = block
        self.spacing = spacing
        self.sequential = sequential
        self.flush_every = flush_every
        self.queues = queues


class Load:
    counts_only = False  # the program cannot be told to stop after a time

    def __init__(self, path, shape, make=None):
        self.path = path
        self.shape = shape
        self.make = make  # called with `path` before each run

    def command(self, count, seconds):
        raise NotImplementedError

    def sample(self, out, count):
        raise NotImplementedError

    def prepare(self):
        if self.make:
            self.make(self.path)

    def verify(self):
        """After the first run: an answer that is wrong has no speed."""

    def run(self, cpus, count=None, seconds=None, wrapper=()):
        """One run. `wrapper` is a command in front of the program. Returns (Sample, stderr)."""
        out, err = run(["taskset", "-c", cpus, *wrapper, *self.command(count, seconds)])
        return self.sample(out, count), err


def limit(count, seconds):
    return ["--count", str(count)] if count else ["--time", str(seconds)]


class Ours(Load):
    def __init__(self, vhdtool, path, shape, make=None):
        super().__init__(path, shape, make)
        self.vhdtool = vhdtool

    def verify(self):
        if self.shape.mode != "read":
            run([self.vhdtool, "check", self.path])

    def command(self, count, seconds):
        shape = self.shape
        command = [self.vhdtool, "bench", self.path, "--json", "--mode", shape.mode,
                   "--block", str(shape.block), "--depth", str(shape.depth),
                   "--queues", str(shape.queues), *limit(count, seconds)]
        if shape.mode != "read":
            command.append("--destroy")
        if shape.sequential:
            command.append("--sequential")
        if shape.flush_every:
            command += ["--flush-every", str(shape.flush_every)]
        return command

    def sample(self, out, count):
        report = json.loads(out)
        return Sample(report["requests"], report["seconds"], report)


class Ring(Load):
    """The bare ring, on a plain file."""

    def __init__(self, program, path, shape, make=None):
        super().__init__(path, shape, make)
        self.program = program

    def command(self, count, seconds):
        shape = self.shape
        command = [self.program, "--mode", shape.mode, "--block", str(shape.block),
                   "--depth", str(shape.depth), "--rings", str(shape.queues),
                   *limit(count, seconds)]
        if shape.spacing:
            command += ["--unit", str(shape.spacing)]
        if shape.sequential:
            command.append("--sequential")
        if shape.flush_every:
            command += ["--flush-every", str(shape.flush_every)]
        return [*command, self.path]

    def sample(self, out, count):
        report = json.loads(out)
        return Sample(report["requests"], report["seconds"], report)


class Fio(Load):
    def command(self, count, seconds):
        shape = self.shape
        assert seconds and not shape.spacing
        way = {"read": "randread", "write": "randwrite"}[shape.mode]
        return ["fio", "--name=load", f"--filename={self.path}", f"--rw={way}", "--direct=1",
                f"--bs={shape.block}", f"--iodepth={shape.depth}", "--ioengine=io_uring",
                "--registerfiles", "--norandommap", "--gtod_reduce=1", "--time_based",
                f"--runtime={seconds}", "--refill_buffers=0", "--output-format=json"]

    def sample(self, out, count):
        job = json.loads(out[out.index("{"):])["jobs"][0][self.shape.mode]
        return Sample(job["total_ios"], job["runtime"] / 1000, job)


class Qemu(Load):
    """qemu-img bench. It walks in steps, here so wide and odd that they jump about, and is given
    the faster of its two ways to reach the kernel, found by trying. It writes one byte again and
    again, which a device that compresses takes for nothing: its figures for writes flatter it."""

    counts_only = True

    def __init__(self, path, form, shape, size, make=None):
        super().__init__(path, shape, make)
        self.form = form
        self.aio = "native"
        if shape.spacing:
            self.step = shape.spacing * (1 if shape.sequential else 37)
        else:
            self.step = (size * 618 // 1000 // shape.block | 1) * shape.block

    def command(self, count, seconds):
        shape = self.shape
        command = ["qemu-img", "bench", "-f", self.form, "-t", "none", "-i", self.aio,
                   "-c", str(count), "-d", str(shape.depth), "-s", str(shape.block),
                   "-S", str(self.step)]
        if shape.mode != "read":
            command += ["-w", "--pattern=165"]
        if shape.flush_every:
            command.append(f"--flush-interval={shape.flush_every}")
            if shape.depth > 1:  # as the others: what is under way goes on
                command.append("--no-drain")
        return [*command, self.path]

    def sample(self, out, count):
        return Sample(count, max(float(re.search(r"completed in ([0-9.]+)", out)[1]), 0.001))

    def calibrate(self, cpus, seconds):
        """How many requests take about that long, by the faster way."""
        rates = {}
        for aio in ("native", "io_uring"):
            self.aio = aio
            self.prepare()
            rates[aio] = self.run(cpus, count=4096)[0].rate
        self.aio = max(rates, key=rates.get)
        return max(256, int(rates[self.aio] * seconds))


def exists(program):
    return any(os.access(os.path.join(folder, program), os.X_OK)
               for folder in os.environ.get("PATH", "").split(os.pathsep))
