"""What other programs get: NBD beside nbdkit's memory plugin and qemu-nbd, FUSE beside QEMU's."""

import json
import os
import signal
import subprocess
import sys
import time

from suites.common import GIB, MIB, remove, run
from suites.images import Images
from suites.loads import Load, Sample, Shape, exists
from suites.ram_disk import RamDisk, available_memory
from suites.rows import Contender, measure_speed

PARTS = ("nbd-read", "nbd-write", "fuse-read")
DEADLINE = 30  # seconds for a server to come up or to go
HERE = os.path.dirname(os.path.abspath(__file__))


class Server:
    """A program that serves until it is told to stop. Ready once `ready` holds."""

    def __init__(self, command, ready):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + DEADLINE
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                out, err = self.process.communicate()
                sys.exit(f"{' '.join(command)}\n{out.decode()}{err.decode()}")
            time.sleep(0.02)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE)


class FioJob(Load):
    """A job file of bench/fio, on whatever serves at the moment."""

    def __init__(self, job, variables, kind):
        super().__init__("", Shape(kind))
        self.job = os.path.join(HERE, "..", "fio", job)
        self.variables = variables

    def command(self, count, seconds):
        words = [f"{name}={value}" for name, value in
                 {**self.variables, "SECONDS_EACH": seconds}.items()]
        return ["env", *words, "fio", "--output-format=json", self.job]

    def sample(self, out, count):
        job = json.loads(out[out.index("{"):])["jobs"][0][self.shape.mode]
        return Sample(job["total_ios"], job["runtime"] / 1000, job)


class Doors:
    def __init__(self, options):
        self.options = options
        cpus = sorted(os.sched_getaffinity(0))[-2:]
        options.cpu = ",".join(map(str, cpus))
        options.seconds = 1 if options.quick else 3
        self.servers = []

    def run(self, parts):
        options = self.options
        missing = [name for name in ("nbdkit", "fio", "qemu-nbd", "nbdcopy") if not exists(name)]
        if missing:
            print(f"doors: skipped, not installed: {' '.join(missing)}")
            return []
        with RamDisk(options.workdir) as disk:
            print(f"doors: files on {disk.what}, in the page cache; processors {options.cpu} for "
                  "servers and clients alike")
            size = 64 * MIB if options.quick or available_memory() < 8 * GIB else GIB
            self.folder = disk.folder
            self.images = Images(options.vhdtool, disk.folder, size)
            rows = {"nbd-read": self.nbd_read, "nbd-write": self.nbd_write,
                    "fuse-read": self.fuse_read}
            made = []
            for part in parts:
                try:
                    made += filter(None, rows[part]())
                finally:
                    self.stop_all()
        return made

    def stop_all(self):
        while self.servers:
            self.servers.pop().stop()

    def start(self, command, ready):
        self.servers.append(Server(["taskset", "-c", self.options.cpu, *command], ready))

    def socket(self, name):
        """A path for one; what a server before left there is removed."""
        path = os.path.join(self.folder, name)
        remove(path)
        return path

    def image(self, copy=False):
        """In the page cache: the doors are measured, not what is behind them."""
        path = self.images.full("vhdx")
        if copy:
            path = self.images.copy_for_qemu(path)
        with open(path, "rb") as file:
            while file.read(MIB):
                pass
        return path

    def memory(self):
        path = self.socket("memory.sock")
        self.start(["nbdkit", "-f", "-U", path, "memory", str(self.images.size)],
                   lambda: os.path.exists(path))
        uri = f"nbd+unix:///?socket={path}"
        run(["nbdcopy", self.images.raw(), uri])  # what was never written costs it nothing
        return uri

    def ours(self, image, *arguments):
        path = self.socket(f"ours-{len(self.servers)}.sock")
        self.start([self.options.vhdtool, "serve", image, "--socket", path, *arguments],
                   lambda: os.path.exists(path))
        return f"nbd+unix:///?socket={path}"

    def qemu(self, image, *arguments):
        path = self.socket("qemu.sock")
        self.start(["qemu-nbd", "-f", "vhdx", "-k", path, "-t", "-e", "8", *arguments, image],
                   lambda: os.path.exists(path))
        return f"nbd+unix:///?socket={path}"

    def nbd(self, job, kind, uri):
        return FioJob(job, {"URI": uri, "DISK_SIZE": self.images.size}, kind)

    def nbd_read(self):
        job = ("nbd-randread.fio", "read")
        memory, ours = self.memory(), self.ours(self.image(), "--read-only")
        # QEMU locks the image although it only reads: it gets a copy.
        qemu = self.qemu(self.image(copy=True), "-r")
        contenders = (("nbdkit memory", memory), ("vhdtool serve, VHDX", ours),
                      ("qemu-nbd, VHDX", qemu))
        yield self.nbd_row("NBD, 4k random read, depth 32", job, contenders, "nbdkit memory", 0.9)
        yield self.nbd_row("the same against qemu-nbd", job, contenders[1:], "qemu-nbd, VHDX", 1.0)

    def nbd_write(self):
        job = ("nbd-randwrite.fio", "write")
        contenders = (("vhdtool serve, VHDX", self.ours(self.image(copy=True))),
                      ("nbdkit memory", self.memory()))
        yield self.nbd_row("NBD, 4k random write, depth 32", job, contenders, "nbdkit memory", None)

    def nbd_row(self, title, job, contenders, against, target):
        return measure_speed(title, [
            Contender(name, self.nbd(*job, uri), against=None if name == against else against,
                      target=target if name.startswith("vhdtool") else None)
            for name, uri in contenders], self.options)

    def fuse_read(self):
        """The kernel's pages of each file are dropped before each run; those of the images stay."""
        if not exists("qemu-storage-daemon") or not os.access("/dev/fuse", os.W_OK):
            print("\nFUSE: skipped, no qemu-storage-daemon or no /dev/fuse")
            return
        point = os.path.join(self.folder, "mnt")
        os.makedirs(point, exist_ok=True)
        file = os.path.join(point, "disk.raw")
        self.start([self.options.vhdtool, "mount", self.image(), point, "--read-only",
                    "--foreground"],
                   lambda: os.path.exists(file))
        theirs = self.socket("qemu-fuse")
        with open(theirs, "wb"):
            pass
        copy = self.image(copy=True)
        self.start(["qemu-storage-daemon", "--blockdev",
                    f"driver=file,node-name=file,filename={copy},read-only=on", "--blockdev",
                    "driver=vhdx,node-name=disk,file=file,read-only=on", "--export",
                    f"type=fuse,id=e,node-name=disk,mountpoint={theirs}"],
                   lambda: os.path.getsize(theirs) == self.images.size)
        name = "qemu-storage-daemon, VHDX"
        yield measure_speed("FUSE, sequential read, 1 MiB at a time", [
            Contender(name, FioJob("fuse-seqread.fio", {"FILE": theirs}, "read")),
            Contender("vhdtool mount, VHDX", FioJob("fuse-seqread.fio", {"FILE": file}, "read"),
                      against=name, target=0.96)], self.options)
