"""How much memory vhdtool takes for logs of 256 MiB, the longest that it replays (RELIABILITY b.1).

VHDTOOL names the program; skipped where it is unset. Images are sparse, but the logs are not.
"""
import os
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from imagebuild.bases import LOG_ID  # noqa: E402
from imagebuild.vhdx_writer import Vhdx  # noqa: E402
from imagecheck.crc32c import Crc32c  # noqa: E402

VHDTOOL = os.environ.get("VHDTOOL")
KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
SECTOR = 4096
LOG_BYTES = 256 * MIB
MOST_BYTES = 64 * MIB
# Its low half is zero, so that checksums of data sectors cost Python little.
SEQUENCE = 1 << 32
REFUSED = 2


def image():
    """64 TiB of disk without a block; the table fits a log of 256 MiB twice."""
    disk = Vhdx("disk.vhdx")
    disk.size = 64 * TIB
    disk.log_offset, disk.log_length = MIB, LOG_BYTES
    disk.metadata_offset = disk.log_offset + LOG_BYTES
    disk.bat_offset, disk.bat_length = disk.metadata_offset + MIB, 513 * MIB
    disk.log_guid = LOG_ID
    disk.build()
    return disk


def entry(sequence, descriptors, size):
    """(first sectors, count of data sectors) of an entry; its data sectors are zeros."""
    count = len(descriptors)
    data = sum(raw[:4] == b"desc" for raw in descriptors)
    directory = SECTOR * (1 + -(-max(0, count - 126) // 128))
    length = directory + data * SECTOR
    head = struct.pack("<4sIIIQII16sQQ", b"loge", 0, length, 0, sequence, count, 0,
                       LOG_ID.bytes_le, size, size)
    head = (head + b"".join(descriptors)).ljust(directory, b"\0")
    sector = data_sector(sequence)
    crc = Crc32c().update(head)
    for _ in range(data):
        crc.update(sector)
    return head[:4] + struct.pack("<I", crc.value()) + head[8:], data


def data_sector(sequence):
    return (b"data" + struct.pack("<I", sequence >> 32)).ljust(SECTOR - 4, b"\0") + struct.pack(
        "<I", sequence & 0xFFFFFFFF)


def data(place, sequence=SEQUENCE):
    return b"desc" + bytes(12) + struct.pack("<QQ", place, sequence)


def zero(place, length, sequence=SEQUENCE):
    return b"zero" + bytes(4) + struct.pack("<QQQ", length, place, sequence)


def save(disk, path, entries):
    """The image with these (sequence, descriptors) one behind the other in its log."""
    disk.file.save(path)
    with open(path, "r+b") as out:
        out.seek(disk.log_offset)
        for sequence, descriptors in entries:
            head, count = entry(sequence, descriptors, disk.file.size)
            out.write(head)
            out.write(data_sector(sequence) * count)
        if out.tell() > disk.log_offset + disk.log_length:
            raise ValueError("the log is too long")


def apart(work):
    """Runs `work` in a process of its own. What vhdtool is charged with starts at what the process
    that starts it has, so that this one must stay small."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise RuntimeError("no image was made")


def full_of_data(disk):
    """One entry that fills the log: each of its sectors replaces another one of the table."""
    count = LOG_BYTES // SECTOR - 520
    return [data(disk.bat_offset + n * SECTOR) for n in range(count)]


def peak(*arguments):
    """(exit code, most bytes of memory) of vhdtool."""
    with subprocess.Popen([VHDTOOL, *arguments], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * KIB


@unittest.skipUnless(VHDTOOL, "VHDTOOL does not name the program")
class Memory(unittest.TestCase):
    """Each way to look at a log stays below MOST_BYTES; `replay` last, it changes the image."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "disk.vhdx")

    def assert_bounded(self, refused):
        for words in (("info",), ("check",), ("dump",), ("replay", "--dry-run"), ("replay",)):
            with self.subTest(words=words):
                code, size = peak(*words, self.path)
                print("%-18s %5.1f MiB, exit code %d" % (" ".join(words), size / MIB, code))
                self.assertLess(size, MOST_BYTES)
                if words != ("dump",):
                    self.assertEqual(code == REFUSED, refused)

    def make(self, entries):
        """Saves image() with entries(disk) in its log."""
        def work():
            disk = image()
            save(disk, self.path, entries(disk))
        apart(work)

    def test_a_log_full_of_data(self):
        self.make(lambda disk: [(SEQUENCE, full_of_data(disk))])
        self.assert_bounded(refused=False)

    def test_a_log_full_of_data_after_which_nothing_can_be_opened(self):
        self.make(lambda disk: [
            (SEQUENCE, full_of_data(disk) + [zero(disk.metadata_offset, 64 * KIB)])])
        self.assert_bounded(refused=True)

    def test_a_log_of_separate_zeros(self):
        def entries(disk):
            first = disk.file.size
            disk.file.truncate(first + 9 * GIB)
            return [(SEQUENCE, [zero(first + 2 * n * SECTOR, SECTOR) for n in range(1 << 20)])]
        self.make(entries)
        self.assert_bounded(refused=False)

    def test_a_log_of_many_entries(self):
        count = LOG_BYTES // SECTOR - 1
        self.make(lambda disk: [(SEQUENCE + n, []) for n in range(count)]
                  + [(SEQUENCE + count, [zero(disk.metadata_offset, 64 * KIB, SEQUENCE + count)])])
        self.assert_bounded(refused=True)


if __name__ == "__main__":
    unittest.main()
