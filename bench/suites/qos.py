"""Storage QoS: what it costs where it limits nothing, how near to a limit a disk comes, and what
neighbours and shares look like on a device."""

import json
import os
import statistics

from suites.common import GIB, MIB, run
from suites.images import Images
from suites.loads import Ours, Shape
from suites.ram_disk import RamDisk, available_memory
from suites.rows import Contender, Count, count_row, measure_speed

PARTS = ("qos-cost", "qos-limit", "qos-neighbour", "qos-shares", "qos-decisions")


class Limited(Ours):
    """The same disk below a policy."""

    def __init__(self, vhdtool, path, shape, *words):
        super().__init__(vhdtool, path, shape)
        self.words = words

    def command(self, count, seconds):
        return [*super().command(count, seconds), *self.words]


class Qos:
    def __init__(self, options):
        self.options = options
        cpus = sorted(os.sched_getaffinity(0))
        options.cpu = str(cpus[-1])
        self.cpus = ",".join(map(str, cpus))
        options.seconds = 1 if options.quick else 5

    def run(self, parts):
        options = self.options
        with RamDisk(options.workdir) as disk:
            print(f"qos: files on {disk.what}; processors {self.cpus}, but {options.cpu} for cost")
            small = options.quick or available_memory() < 8 * GIB
            images = Images(options.vhdtool, disk.folder, 64 * MIB if small else 256 * MIB)
            self.disks = [images.full("vhdx")]
            for number in range(3):
                path = os.path.join(disk.folder, f"neighbour-{number}.vhdx")
                run(["cp", "--sparse=always", self.disks[0], path])
                self.disks.append(path)
            rows = {"qos-cost": self.cost, "qos-limit": self.limit,
                    "qos-neighbour": self.neighbour, "qos-shares": self.shares,
                    "qos-decisions": self.decisions}
            return [rows[part]() for part in parts]

    def cost(self):
        """Against the same queue without the decorator: 2 %, and 40 ns each."""
        plain, path, tool = "vhdtool bench", self.disks[0], self.options.vhdtool
        shape = Shape("read")
        title = "the same queue below a policy, VHDX, mapped 4k random read, depth 32"
        row = measure_speed(title, [
            Contender(plain, Ours(tool, path, shape)),
            Contender("not limited", Limited(tool, path, shape, "--qos", "weight=100"),
                      against=plain, target=0.98),
            Contender("far below its limit", Limited(
                tool, path, shape, "--qos", "iops=100000000,bps=1024G"), against=plain,
                      target=0.98),
            Contender("not limited, what is under way counted", Limited(
                tool, path, shape, "--qos-host", "in-flight=4096"), against=plain)],
                            self.options)
        base = row["contenders"][0]["requests_per_second"]
        counts = []
        for one in row["contenders"][1:]:
            spent = statistics.median(1e9 / rate - 1e9 / bare
                                      for rate, bare in zip(one["requests_per_second"], base))
            counts.append(Count(one["name"], spent, target=40 if one["target"] else None))
        row["nanoseconds"] = count_row("nanoseconds per request above the queue alone", counts)
        return row

    def bench(self, disks, *words):
        out, _ = run(["taskset", "-c", self.cpus, self.options.vhdtool, "bench", *disks, "--json",
                      "--time", str(self.options.seconds), *words])
        report = json.loads(out)
        return report.get("disks", [report])

    def rounds(self, sample):
        return statistics.median(sample() for _ in range(self.options.rounds))

    def limit(self):
        """How far off the limit in per cent, in wall-clock time, either way."""
        def off(words, of_report, limit):
            report = self.bench(self.disks[:1], "--qos", words)[0]
            return abs(of_report(report) / report["seconds"] / limit - 1) * 100
        counts = []
        for iops in (500, 5000, 50000):
            counts.append(Count(f"iops={iops}", self.rounds(lambda iops=iops: off(
                f"iops={iops},iops-burst={iops // 50}",
                lambda report: report["qos"]["operations"], iops)), target=5))
        counts.append(Count("bps=64M", self.rounds(lambda: off(
            "bps=64M,bps-burst=1M", lambda report: report["qos"]["bytes"], 64 * MIB)), target=5))
        return count_row("per cent off the limit, 4k random read, depth 32", counts)

    def neighbour(self):
        """The p99 of a disk without limits, beside three that are held back, to its own alone."""
        depth = ("--depth", "4")

        def ratio():
            alone = self.bench(self.disks[:1], *depth, "--qos", "weight=100")[0]
            limits = [word for _ in range(3) for word in ("--qos", "iops=1000")]
            beside = self.bench(self.disks, *depth, "--qos", "weight=100", *limits)[0]
            return beside["latency_ns"]["p99"] / alone["latency_ns"]["p99"]
        return count_row("p99 of a disk that is not limited, to what it is alone", [
            Count("beside three of 1,000 operations a second", self.rounds(ratio), target=1.2)])

    def shares(self):
        """A device that four disks want more of than it has: per cent off what is due."""
        weights = (100, 200, 300, 400)
        words = [word for weight in weights for word in ("--qos", f"weight={weight}")]
        minimum = ["--qos", "min=10000,weight=1", *words[2:]]

        def off():
            disks = self.bench(self.disks, *words, "--qos-host", "iops=20000,iops-burst=200")
            done = [disk["qos"]["operations"] for disk in disks]
            return max(abs(mine / sum(done) / (weight / sum(weights)) - 1) * 100
                       for mine, weight in zip(done, weights))

        def missing():
            disks = self.bench(self.disks, *minimum, "--qos-host", "iops=20000,iops-burst=200")
            return max(0, 1 - disks[0]["qos"]["operations"] / disks[0]["seconds"] / 10000) * 100
        return count_row("four disks that share 20,000 operations a second", [
            Count("per cent off the weights, at most", self.rounds(off), target=5),
            Count("per cent missing of min=10000", self.rounds(missing), target=5)])

    def decisions(self):
        """Of the scheduler alone, and how that grows."""
        out, _ = run(["taskset", "-c", self.options.cpu,
                      os.path.join(self.options.tools, "qos_bench"), "--benchmark_format=json",
                      f"--benchmark_min_time={0.05 if self.options.quick else 1}"])
        took = {one["name"]: one["cpu_time"] for one in json.loads(out)["benchmarks"]}
        counts = [Count(f"{name} (ns)", time, target=40 if "Decision" not in name else None)
                  for name, time in took.items()]
        counts.append(Count("10,000 flows to 100", took["BM_Decision/10000"] /
                            took["BM_Decision/100"], target=5))
        return count_row("a request that nothing holds back, and a decision among n flows", counts)
