#!/usr/bin/env python3
"""Attacks through the name that a differencing image gives its parent, and what stands there (T12).

Each case lays a child into a folder of its own and sees under strace to it that vhdtool refuses the
chain, that nothing outside of that folder was opened which an honest chain does not open too, and
that neither a network was asked nor a program started. A real parent of the child, which would make
the chain whole, lies outside, where most of the names lead.
"""

import os
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import unittest

from program import MIB, OK, REFUSED, TIMEOUT, VHDTOOL

SKIPPED = 77  # CTest's SKIP_RETURN_CODE
TRACED = "open,openat,openat2,open_by_handle_at,creat,connect,execve"
METADATA = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
LOCATOR = bytes.fromhex("2d5fd3a80bb34d45abf7d3d84834ab0c")
LOCATOR_TYPE = bytes.fromhex("b7ef4ab09ed1814ab78925b8e9445913")


def utf16(text):
    return text.encode("utf-16-le", "surrogatepass")


def swapped(units):
    """The same code units for VHD, whose header is in the other byte order."""
    return b"".join(units[i:i + 2][::-1] for i in range(0, len(units), 2))


class Vhdx:
    ending = "vhdx"
    # Keys that other software follows, and that are not to be followed here.
    others = ("absolute_win32_path", "volume_path")

    @staticmethod
    def propose(path, name, key="relative_path", linkage=True):
        """Gives the image a locator with this one name, raw UTF-16."""
        with open(path, "r+b") as file:
            file.seek(192 << 10)
            table = file.read(64 << 10)
            region = table.index(METADATA, 16)
            base, _ = struct.unpack_from("<QI", table, region + 16)
            file.seek(base)
            items = bytearray(file.read(64 << 10))
            entry = items.index(LOCATOR, 32)
            offset, length = struct.unpack_from("<II", items, entry + 16)
            file.seek(base + offset)
            old = file.read(length)
            pairs = []
            for i in range(struct.unpack_from("<H", old, 18)[0]):
                at, value, at_length, value_length = struct.unpack_from("<IIHH", old, 20 + 12 * i)
                word = old[at:at + at_length]
                if linkage and word == utf16("parent_linkage"):
                    pairs.append((word, old[value:value + value_length]))
            pairs.append((utf16(key), name))
            head = LOCATOR_TYPE + struct.pack("<HH", 0, len(pairs))
            at, body = 20 + 12 * len(pairs), b""
            for word, value in pairs:
                head += struct.pack("<IIHH", at, at + len(word), len(word), len(value))
                at += len(word) + len(value)
                body += word + value
            struct.pack_into("<II", items, entry + 16, 512 << 10, len(head + body))
            file.seek(base)
            file.write(items)
            file.seek(base + (512 << 10))
            file.write(head + body)


class Vhd:
    ending = "vhd"
    others = ("W2ku", "Wi2r", "MacX")

    @staticmethod
    def propose(path, name, key="W2ru", linkage=True):
        with open(path, "r+b") as file:
            file.seek(-512, os.SEEK_END)
            footer = file.read(512)
            place = file.tell() - 512
            file.seek(512)
            header = bytearray(file.read(1024))
            header[64:576] = swapped(name)[:510].ljust(512, b"\0")
            if not linkage:
                header[40:56] = bytes(16)
            header[576:768] = bytes(192)
            room = -(-max(len(name), 1) // 512) * 512
            struct.pack_into(">4sIIIQ", header, 576, key.encode(), room, len(name), 0, place)
            header[36:40] = bytes(4)
            header[36:40] = struct.pack(">I", ~sum(header) & 0xffffffff)
            file.seek(512)
            file.write(header)
            file.seek(place)
            file.write(name.ljust(room, b"\0") + footer)


def names(outside, ending):
    """Title: a name that must lead nowhere. `outside` is the folder of the real parent."""
    base = f"base.{ending}"
    back = outside.replace("/", "\\")
    up = "..\\" * 20 + back.lstrip("\\")
    found = {
        "nothing": "", "a dot": ".", "two dots": "..", "only the prefix": ".\\",
        "one level up": f"..\\outside\\{base}", "one level up, slashes": f"../outside/{base}",
        "the prefix, then up": f".\\..\\outside\\{base}",
        "the prefix with a slash, then up": f"./../outside/{base}",
        "the prefix twice": f".\\.\\..\\outside\\{base}",
        "down and up": f"sub\\..\\..\\outside\\{base}", "mixed": f"..\\outside/{base}",
        "up to the root": f"{up}\\{base}", "three dots": f"...\\{base}",
        "dots and a name": f"..{base}",
        "a folder": f"sub\\{base}", "a folder with a slash": f"sub/{base}",
        "a link to a folder": f"link\\{base}", "absolute": f"{outside}/{base}",
        "absolute, backslashes": f"{back}\\{base}", "a drive": f"C:{back}\\{base}",
        "a drive's current folder": f"C:{base}", "a network share": f"\\\\server\\share\\{base}",
        "a network share, slashes": f"//server/share/{base}",
        "a long path": f"\\\\?\\C:{back}\\{base}",
        "a long network path": f"\\\\?\\UNC\\server\\s\\{base}",
        "a volume": f"\\\\?\\Volume{{26a21bda-a627-11d7-9931-806e6f6e6963}}\\{base}",
        "a raw device": "\\\\.\\PhysicalDrive0", "a pipe": "\\\\.\\pipe\\x",
        "a stream": f"{base}:stream", "a stream of data": f"{base}::$DATA",
        "a file URL": f"file://{outside}/{base}", "a web address": f"http://127.0.0.1:9/{base}",
        "an NBD address": "nbd://127.0.0.1:9/",
        "an NBD socket": f"nbd+unix:///?socket={outside}/sock",
        "a protocol of QEMU": f"fat:rw:{outside}",
        "an option string": f"file.filename={outside}/{base}",
        "JSON": f'json:{{"driver":"raw","file.filename":"{outside}/{base}"}}',
        "a descriptor": "fd:0",
        "standard input": "-", "dev fd": "/dev/fd/0", "dev stdin": "/dev/stdin",
        "proc fd": "/proc/self/fd/0", "proc root": f"/proc/self/root{outside}/{base}",
        "proc cwd": f"/proc/self/cwd/{base}", "a device": "/dev/zero", "a terminal": "/dev/tty",
        "home": f"~/{base}", "a variable": f"$HOME/{base}", "a pattern": f"*.{ending}",
        "percent signs": f"%2e%2e%2foutside%2f{base}", "a full-width path": f"．．／outside／{base}",
        "a division slash": f"..∕outside∕{base}", "a NUL": f"{base}\0.txt",
        "a NUL first": f"\0{base}",
        "a NUL before up": f"x\0\\..\\..\\outside\\{base}", "a control character": f"\1{base}",
        "a line break": f"{base}\n", "a tabulator": f"\t{base}", "delete": f"{base}\x7f",
        "a dot at the end": f"{base}.", "a space at the end": f"{base} ",
        "a space and a dot": f"{base} .", "256 bytes": "n" * 256,
        "128 letters of two bytes": "ä" * 128,
        "255 letters of three bytes": "€" * 255, "64 KiB": "n" * 32767,
        "64 KiB of levels": "..\\" * 10922,
        "a shell command": "$(touch gone)", "a quoted command": "`touch gone`",
        "a pipe sign": "|touch gone",
    }
    raw = {title: utf16(name) for title, name in found.items()}
    raw["half a pair, first"] = struct.pack("<H", 0xd800) + utf16(base)
    raw["half a pair, last"] = utf16(base) + struct.pack("<H", 0xd83d)
    raw["a pair the wrong way"] = struct.pack("<HH", 0xdc00, 0xd800) + utf16(base)
    raw["an odd byte"] = utf16(base) + b"x"
    raw["8-bit text"] = f"../outside/{base}".encode().ljust(64, b"x")
    return raw


class Attack(unittest.TestCase):
    """One folder with a child, one outside of it with its parent."""

    kind = None  # Vhdx or Vhd
    count = 0
    honest = {}

    def setUp(self):
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="attack-"))
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        self.inside, self.outside = self.path("inside"), self.path("outside")
        for folder in (self.inside, self.outside, self.path("inside", "sub")):
            os.mkdir(folder)
        os.symlink(self.outside, self.path("inside", "link"))
        self.child = self.path("inside", f"child.{self.kind.ending}")
        self.base = self.path("outside", f"base.{self.kind.ending}")
        self.parent = self.path("inside", f"parent.{self.kind.ending}")
        made = self.path("inside", f"base.{self.kind.ending}")
        self.tool("create", made, "--size", "8M")
        self.tool("create", self.child, "--parent", made)
        os.rename(made, self.base)
        with open(self.child, "rb") as file:
            self.honest_child = file.read()

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def tool(self, *words):
        subprocess.run([VHDTOOL, *words], check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT)

    def propose(self, name, **how):
        with open(self.child, "wb") as file:
            file.write(self.honest_child)
        self.kind.propose(self.child, name if isinstance(name, bytes) else utf16(name), **how)

    def traced(self):
        """Exit code, the line on standard error, and what was opened, called and started."""
        log = self.path("trace")
        environment = {**os.environ, "HOME": self.outside, "ASAN_OPTIONS": "detect_leaks=0"}
        done = subprocess.run(
            ["strace", "-f", "-y", "-s", "300", "-e", f"trace={TRACED}", "-o", log, VHDTOOL, "map",
             self.child], cwd=self.inside, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=environment, timeout=60, check=False)
        opened, others = set(), []
        with open(log, encoding="utf-8", errors="replace") as file:
            for line in file:
                result = re.search(r"= \d+<(.*)>$", line.rstrip())
                if result:
                    # O_PATH only looks: it has no side effect and reads nothing.
                    opened.add((result[1], "O_PATH" in line))
                elif " connect(" in line or " execve(" in line:
                    others.append(line.strip())
        return done.returncode, done.stderr.decode("utf-8", "replace"), opened, others[1:]

    def system_files(self):
        """What a chain that is whole opens beside its own folder."""
        if self.kind not in Attack.honest:
            beside = self.path("inside", os.path.basename(self.base))
            os.link(self.base, beside)
            self.propose(os.path.basename(self.base))
            code, errors, opened, others = self.traced()
            self.assertEqual((code, others), (OK, []), errors)
            self.assertIn((beside, False), opened)
            os.unlink(beside)
            Attack.honest[self.kind] = {path for path, _ in opened if self.root not in path}
        return Attack.honest[self.kind]

    def refused(self, title, may_open=()):
        """The case: what is refused, and what was touched on the way there."""
        Attack.count += 1
        allowed = self.system_files() | {self.child, self.inside, *may_open}
        code, errors, opened, others = self.traced()
        self.assertEqual(code, REFUSED, f"{title}: {errors}")
        lines = [line for line in errors.splitlines() if not line.startswith("vhdtool: note: ")]
        self.assertEqual(len(lines), 1, f"{title}: {errors}")
        self.assertEqual(others, [], title)
        for path, looked in opened:
            if looked:
                self.assertIn(self.inside, (path, os.path.dirname(path)),
                              f"{title}: looked at {path}")
            else:
                self.assertIn(path, allowed, f"{title}: opened {path}")
        self.assertFalse(os.path.exists(self.path("inside", "gone")), title)

    def stands(self, title, **how):
        """What stands at the parent's name, made by the caller; taken away afterwards."""
        self.system_files()
        self.propose(os.path.basename(self.parent))
        self.refused(title, **how)
        if os.path.isdir(self.parent) and not os.path.islink(self.parent):
            os.rmdir(self.parent)
        else:
            os.unlink(self.parent)


class Names:
    def test_names_that_lead_nowhere(self):
        self.system_files()
        for title, name in names(self.outside, self.kind.ending).items():
            with self.subTest(title):
                self.propose(name)
                self.refused(title)

    def test_names_of_the_other_case_are_other_names(self):
        self.system_files()
        os.link(self.base, self.path("inside", os.path.basename(self.base)))
        for name in (os.path.basename(self.base).upper(), os.path.basename(self.base).title(),
                     f"base.{self.kind.ending.upper()}", f"ｂase.{self.kind.ending}",
                     f"bas\u0435.{self.kind.ending}"):
            with self.subTest(name):
                self.propose(name)
                self.refused(name)

    def test_paths_that_other_software_follows(self):
        self.system_files()
        for key in self.kind.others:
            for name in (f"{self.outside}/{os.path.basename(self.base)}",
                         f"C:\\outside\\{os.path.basename(self.base)}",
                         f"\\\\server\\share\\{os.path.basename(self.base)}",
                         f"file://{self.base}"):
                with self.subTest((key, name)):
                    self.propose(name, key=key)
                    self.refused(f"{key} {name}")


class Files:
    def test_links(self):
        os.symlink(self.base, self.parent)
        self.stands("a link to the parent")
        os.symlink(os.path.join("..", "outside", os.path.basename(self.base)), self.parent)
        self.stands("a relative link to the parent")
        os.symlink("link/" + os.path.basename(self.base), self.parent)
        self.stands("a link through a link")
        os.symlink("none", self.parent)
        self.stands("a dangling link")
        os.symlink(os.path.basename(self.parent), self.parent)
        self.stands("a link to itself")
        os.symlink(self.outside, self.parent)
        self.stands("a link to a folder")
        for magic in ("fd/0", "exe", "root", "cwd"):
            os.symlink("/proc/self/" + magic, self.parent)
            self.stands(f"a link to /proc/self/{magic}")

    def test_what_is_no_file(self):
        os.mkdir(self.parent)
        self.stands("a folder")
        os.mkfifo(self.parent)
        self.stands("a FIFO")
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.getcwd()
            os.chdir(self.inside)
            listener.bind(os.path.basename(self.parent))
            os.chdir(here)
            listener.listen()
            self.stands("a socket")

    @unittest.skipUnless(os.geteuid() == 0, "only root makes devices")
    def test_devices(self):
        for title, mode, major, minor in (("zeros", stat.S_IFCHR, 1, 5), ("a terminal",
            stat.S_IFCHR, 5, 0),
                                          ("a loop device", stat.S_IFBLK, 7, 0)):
            os.mknod(self.parent, mode | 0o600, os.makedev(major, minor))
            self.stands(title)

    def test_files_of_the_chain_itself(self):
        self.system_files()
        self.propose(os.path.basename(self.child))
        self.refused("its own name")
        os.link(self.child, self.parent)
        self.propose(os.path.basename(self.parent))
        self.refused("another name of itself")
        os.unlink(self.parent)

    def test_files_that_are_no_parents(self):
        def holds(data):
            with open(self.parent, "wb") as file:
                file.write(data)
        may = {"may_open": (self.parent,)}
        holds(b"")
        self.stands("an empty file", **may)
        holds(b"root:secret:0:0\n" * 1000)
        self.stands("a text", **may)
        holds(bytes(8 * MIB))
        self.stands("a raw disk", **may)
        with open(self.base, "rb") as file:
            holds(file.read(os.path.getsize(self.base) // 2))
        self.stands("half a parent", **may)
        other = {"vhd": "vhdx", "vhdx": "vhd"}[self.kind.ending]
        made = self.path("outside", f"other.{other}")
        self.tool("create", made, "--size", "8M")
        os.rename(made, self.parent)
        self.stands("another format", **may)
        for title, words in (("another disk", ("--size", "8M")), ("a larger disk", ("--size",
            "16M")),
                             ("a smaller disk", ("--size", "4M"))):
            made = self.path("outside", f"other.{self.kind.ending}")
            self.tool("create", made, *words)
            os.rename(made, self.parent)
            self.stands(title, **may)

    def test_a_parent_that_was_written_since(self):
        shutil.copyfile(self.base, self.parent)
        self.tool("io", self.parent, "-c", "write -P 1 0 4K")
        if self.kind is Vhd:
            self.skipTest("a VHD's identifier does not change when it is written")
        self.stands("written since", may_open=(self.parent,))

    def test_a_child_without_a_linkage(self):
        self.system_files()
        shutil.copyfile(self.base, self.parent)
        self.propose(os.path.basename(self.parent), linkage=False)
        self.refused("no linkage", may_open=(self.parent,))

    def test_files_that_others_may_write(self):
        shutil.copyfile(self.base, self.parent)
        os.chmod(self.parent, 0o666)
        self.stands("everybody writes it")
        if os.geteuid() == 0:
            shutil.copyfile(self.base, self.parent)
            os.chown(self.child, 1234, 1234)
            os.chown(self.parent, 4321, 4321)
            self.stands("a stranger's")

    @unittest.skipUnless(os.geteuid() == 0, "only root mounts")
    def test_another_mount(self):
        self.system_files()
        with open(self.parent, "wb"):
            pass
        if subprocess.run(["mount", "--bind", self.base, self.parent], check=False,
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("mounting is not permitted")
        try:
            self.propose(os.path.basename(self.parent))
            self.refused("another mount")
        finally:
            subprocess.run(["umount", self.parent], check=True)


class VhdxNames(Names, Attack):
    kind = Vhdx


class VhdNames(Names, Attack):
    kind = Vhd


class VhdxFiles(Files, Attack):
    kind = Vhdx


class VhdFiles(Files, Attack):
    kind = Vhd


class ZzCount(unittest.TestCase):
    """Runs last: a suite whose cases went missing shows nothing."""

    def test_at_least_120_cases_ran(self):
        print(f"{Attack.count} cases")
        self.assertGreaterEqual(Attack.count, 120)


if __name__ == "__main__":
    if not shutil.which("strace"):
        print("skipped: strace is not installed")
        sys.exit(SKIPPED)
    if subprocess.run(["strace", "-o", os.devnull, "true"], check=False,
                      stderr=subprocess.DEVNULL).returncode != 0:
        print("skipped: tracing is not permitted")
        sys.exit(SKIPPED)
    unittest.main()
