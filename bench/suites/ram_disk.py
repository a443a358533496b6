"""A file system on a block device in memory, where the processor is the limit and not a disk."""

import os
import shutil
import subprocess
import time

from suites.common import GIB, run

CONTROL = "/sys/class/zram-control"


class RamDisk:
    """As a context: mounts ext4 on a new zram device below `workdir`, and undoes all of it.

    `folder` is where files go, `what` says on what they lie. Where no such device can be made,
    `folder` is `workdir` itself and `device` is None.
    """

    def __init__(self, workdir, size=16 * GIB):
        self.folder = workdir
        self.device = None
        self.what = ""
        self._workdir = workdir
        self._size = size
        self._mount = os.path.join(workdir, "ram")

    def __enter__(self):
        problem = self._problem()
        if problem:
            self.what = f"WORKDIR itself ({problem})"
            return self
        try:
            self._make()
        except BaseException:
            self._undo()
            raise
        self.folder = self._mount
        self.what = f"{self.device}, zram with ext4"
        return self

    def __exit__(self, *_):
        self._undo()

    def written_bytes(self):
        """By anybody since the device was made, the file system's own included."""
        with open(f"/sys/block/{self.device}/stat", encoding="ascii") as file:
            return int(file.read().split()[6]) * 512

    def _problem(self):
        if os.geteuid() != 0:
            return "a RAM block device needs root"
        if not os.path.exists(f"{CONTROL}/hot_add"):
            return "no zram"
        if shutil.which("mkfs.ext4") is None:
            return "no mkfs.ext4"
        if available_memory() < 2 * GIB:
            return "too little memory for a RAM block device"
        return ""

    def _make(self):
        with open(f"{CONTROL}/hot_add", encoding="ascii") as file:
            self.device = f"zram{int(file.read())}"
        node = f"/dev/{self.device}"
        write(f"/sys/block/{self.device}/disksize", self._size)
        for _ in range(50):  # the node comes a moment later
            if os.path.exists(node):
                break
            time.sleep(0.1)
        # All of it now: nothing is to be written behind a measurement's back.
        run(["mkfs.ext4", "-F", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", node])
        os.makedirs(self._mount, exist_ok=True)
        run(["mount", node, self._mount])

    def _undo(self):
        if self.device is None:
            return
        if os.path.ismount(self._mount):
            for _ in range(50):
                if subprocess.run(["umount", self._mount], check=False,
                                  stderr=subprocess.DEVNULL).returncode == 0:
                    break
                time.sleep(0.1)
        if os.path.isdir(self._mount) and not os.path.ismount(self._mount):
            os.rmdir(self._mount)
        write(f"/sys/block/{self.device}/reset", 1)
        write(f"{CONTROL}/hot_remove", self.device.removeprefix("zram"))
        self.device = None


def write(path, value):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(value))


def available_memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
