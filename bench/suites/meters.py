"""Counting what a load costs, apart from what its program costs to start and end: the difference
between two runs of which one is twice as long, or a stretch in the middle of one."""

import os
import re
import subprocess
import tempfile

SYSTEM_CALLS = "raw_syscalls:sys_enter"
SYNCS = "ext4:ext4_sync_file_enter"  # each fdatasync, fsync and RWF_DSYNC, whoever asks and how
FUTEX = "syscalls:sys_enter_futex"


class Meters:
    def __init__(self, cpus, tools):
        self.cpus = cpus
        self.stepper = os.path.join(tools, "step_counter")
        self.counter = os.path.join(tools, "libcall_counter.so")
        self.has_instructions = perf_knows("instructions:u")
        self.has_events = all(map(perf_knows, (SYSTEM_CALLS, SYNCS, FUTEX)))

    def instructions(self, load, count):
        """In user space, for one request: (how many, how they were counted)."""
        if self.has_instructions:
            return self._difference(load, count, lambda number: self._events(
                load, number, ["instructions:u"])[0]["instructions:u"]) / count, "perf"
        if not load.counts_only and os.path.exists(self.stepper):
            return self._steps(load, count), "step by step"
        return self._difference(load, count, lambda number: callgrind(
            load, self.cpus, number)) / count, "callgrind"

    def _steps(self, load, count):
        """In the middle of a run: each block has had many requests before."""
        load.prepare()
        skip = 100 * count
        _, err = load.run(self.cpus, count=skip + 2 * count + 10 * load.shape.depth, wrapper=[
            self.stepper, str(load.shape.depth), str(skip), str(count)])
        found = re.search(r"steps=(\d+) requests=(\d+)", err)
        return int(found[1]) / int(found[2])

    def calls(self, load, count):
        """(heap allocations, locks) in that many requests."""
        found = []
        for number in (count, 2 * count):
            load.prepare()
            _, err = load.run(self.cpus, count=number,
                              wrapper=["env", f"LD_PRELOAD={self.counter}"])
            match = re.search(r"calls allocations=(\d+) frees=\d+ locks=(\d+)", err)
            found.append((int(match[1]), int(match[2])))
        return found[1][0] - found[0][0], found[1][1] - found[0][1]

    def events(self, load, count, names):
        """How often each happens in that many requests, and the samples of both runs. Without perf
        only system calls are counted, by strace."""
        found, samples = [], []
        for number in (count, 2 * count):
            load.prepare()
            if self.has_events:
                numbers, sample = self._events(load, number, names)
            else:
                numbers, sample = strace(load, self.cpus, number)
            found.append(numbers)
            samples.append(sample)
        return {name: found[1][name] - found[0][name] if name in found[0] else None
                for name in names}, samples

    def _difference(self, load, count, run):
        found = []
        for number in (count, 2 * count):
            load.prepare()
            found.append(run(number))
        return found[1] - found[0]

    def _events(self, load, number, names):
        with tempfile.NamedTemporaryFile("r") as out:
            sample, _ = load.run(self.cpus, count=number, wrapper=[
                "perf", "stat", "-x", ";", "-o", out.name, "-e", ",".join(names), "--"])
            lines = [line.split(";") for line in out.read().splitlines() if ";" in line]
        return {fields[2]: int(fields[0]) for fields in lines}, sample


def perf_knows(event):
    try:
        done = subprocess.run(["perf", "stat", "-x", ";", "-e", event, "--", "true"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0 and re.search(r"^\d+;", done.stderr, re.M) is not None


def callgrind(load, cpus, number):
    _, err = load.run(cpus, count=number, wrapper=[
        "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"])
    return int(re.search(r"Collected : (\d+)", err)[1])


def strace(load, cpus, number):
    with tempfile.NamedTemporaryFile("r") as out:
        sample, _ = load.run(cpus, count=number,
                             wrapper=["strace", "-f", "-c", "-o", out.name])
        total = re.findall(r"^\s*100\.00\s+\S+\s+\S*\s+(\d+)\s.*total$", out.read(), re.M)
    return {SYSTEM_CALLS: int(total[-1])}, sample
