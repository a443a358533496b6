#!/usr/bin/env python3
"""vhdvmm run with guests of one sector: SeaBIOS boots them from images that vhdtool made.

Needs /dev/kvm (one that interprets ring 0 will do) and the seabios package; skips without.
"""

import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

VHDVMM = os.environ["VHDVMM"]
VHDTOOL = os.environ["VHDTOOL"]

# Segments to zero, stack below the sector, SI at the text.
START = bytes([0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0xbc, 0x00, 0x7c,
               0xbe, 0x80, 0x7d])
# Print the text at SI over the UART.
PRINT = bytes([0xac, 0x08, 0xc0, 0x74, 0x12, 0x88, 0xc4, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x20, 0x74,
               0xfb, 0x88, 0xe0, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xe9])
OFF = bytes([0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xf4])     # out 604, 2000
RESET = bytes([0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4])         # out CF9, 6
PANIC = bytes([0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, 0xf4])         # out 505, 1
# An IDT of no length, protected mode, an interrupt.
TRIPLE = bytes([0x0f, 0x01, 0x1e, 0x70, 0x7d, 0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0, 0xcd,
                0x20, 0xf4])
SPIN = bytes([0xeb, 0xfe])
# int 13h, extended write of one sector from 7C00 to sector 5, by the packet at 7D60.
WRITE = bytes([0xbe, 0x60, 0x7d, 0xb4, 0x43, 0xb0, 0x00, 0xcd, 0x13])
PACKET = struct.pack("<BBHHHQ", 16, 0, 1, 0x7c00, 0, 5)


def sector(*parts, text=b"GUEST-SAYS-HELLO\r\n"):
    code = START + b"".join(parts)
    assert len(code) <= 0x160
    body = bytearray(code.ljust(0x160, b"\0") + PACKET)
    body = body.ljust(0x180, b"\0") + text + b"\0"
    return bytes(body.ljust(510, b"\0") + b"\x55\xaa")


def raw(path, boot, megabytes=4):
    with open(path, "wb") as file:
        file.write(boot)
        file.truncate(megabytes << 20)


def tool(*words):
    subprocess.run([VHDTOOL, *words], check=True, stdout=subprocess.DEVNULL)


def vmm(*words, timeout=120):
    return subprocess.run([VHDVMM, "run", "--memory", "32M", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=timeout,
                          check=False)


class Run(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def image(self, boot, name="disk.vhdx", *options):
        raw(self.path("disk.raw"), boot)
        tool("convert", self.path("disk.raw"), self.path(name), "--from", "raw", *options)
        return self.path(name)

    def test_dynamic_vhdx_boots_prints_and_powers_off(self):
        log = self.path("log")
        done = vmm("--disk", self.image(sector(PRINT, OFF)), "--cpus", "2", "--firmware-log", log)
        self.assertIn(b"GUEST-SAYS-HELLO", done.stdout)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        with open(log, "rb") as file:
            text = file.read()
        self.assertIn(b"Found 2 cpu(s)", text)
        self.assertIn(b"OpenVHD disk", text)

    def test_fixed_vhd_is_written_and_clean(self):
        disk = self.image(sector(WRITE, START[-3:], PRINT, OFF), "disk.vhd", "--type", "fixed")
        self.assertEqual(vmm("--disk", disk).returncode, 0)
        tool("check", disk)
        tool("convert", disk, self.path("back.raw"), "--to", "raw")
        with open(self.path("back.raw"), "rb") as file:
            first = file.read(512)
            file.seek(5 * 512)
            self.assertEqual(file.read(512), first)

    def test_chain_of_three_gets_the_writes_in_its_leaf(self):
        base = self.image(sector(WRITE, START[-3:], PRINT, OFF))
        with open(base, "rb") as file:
            before = file.read()
        tool("create", self.path("middle.avhdx"), "--type", "differencing", "--parent", base)
        tool("create", self.path("leaf.avhdx"), "--type", "differencing", "--parent",
             self.path("middle.avhdx"))
        done = vmm("--disk", self.path("leaf.avhdx"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"GUEST-SAYS-HELLO", done.stdout)
        with open(base, "rb") as file:
            self.assertEqual(file.read(), before)
        tool("convert", self.path("leaf.avhdx"), self.path("back.raw"), "--to", "raw")
        with open(self.path("back.raw"), "rb") as file:
            first = file.read(512)
            file.seek(5 * 512)
            self.assertEqual(file.read(512), first)

    def test_a_scsi_disk_boots_and_is_written(self):
        disk = self.image(sector(WRITE, START[-3:], PRINT, OFF))
        done = vmm("--disk", disk + ",bus=scsi")
        self.assertIn(b"GUEST-SAYS-HELLO", done.stdout)
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        tool("check", disk)
        tool("convert", disk, self.path("back.raw"), "--to", "raw")
        with open(self.path("back.raw"), "rb") as file:
            first = file.read(512)
            file.seek(5 * 512)
            self.assertEqual(file.read(512), first)

    def test_cd_boots(self):
        # An El Torito disc by hand: volume descriptors at 16 and 17, catalogue at 18, code at 19.
        disc = bytearray(40 * 2048)
        disc[16 * 2048:16 * 2048 + 7] = b"\x01CD001\x01"
        disc[17 * 2048:17 * 2048 + 7] = b"\x00CD001\x01"
        disc[17 * 2048 + 7:17 * 2048 + 30] = b"EL TORITO SPECIFICATION"
        disc[17 * 2048 + 0x47:17 * 2048 + 0x4b] = struct.pack("<I", 18)
        entry = bytearray(struct.pack("<BBH24sHBB", 1, 0, 0, b"", 0, 0x55, 0xaa))
        total = sum(struct.unpack("<16H", entry)) & 0xffff
        entry[28:30] = struct.pack("<H", (0x10000 - total) & 0xffff)
        disc[18 * 2048:18 * 2048 + 32] = entry
        disc[18 * 2048 + 32:18 * 2048 + 44] = struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 19)
        disc[19 * 2048:19 * 2048 + 512] = sector(PRINT, OFF, text=b"FROM-THE-CD\r\n")
        with open(self.path("boot.iso"), "wb") as file:
            file.write(disc)
        done = vmm("--cdrom", self.path("boot.iso"))
        self.assertIn(b"FROM-THE-CD", done.stdout)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_reset_and_panic_have_codes(self):
        for code, expected in ((RESET, 10), (PANIC, 11)):
            done = vmm("--disk", self.image(sector(PRINT, code)), "--exit-on", "reset")
            self.assertEqual(done.returncode, expected, done.stderr)
            os.remove(self.path("disk.vhdx"))

    def test_a_triple_fault_has_a_code(self):
        done = vmm("--disk", self.image(sector(PRINT, TRIPLE)), "--exit-on", "reset")
        # A KVM that interprets ring 0 gives up before the third fault: that is told as well.
        if b"cannot carry out an instruction" in done.stderr:
            self.assertEqual(done.returncode, 13)
            self.skipTest("this KVM interprets ring 0 and does not get to the triple fault")
        self.assertEqual(done.returncode, 12, done.stderr)

    def test_a_reset_starts_again_with_the_same_disk(self):
        # The first boot replaces the boot sector by one that powers off: sector 6 is copied to 0.
        boot = bytearray(sector(bytes([0xbe, 0x60, 0x7d, 0xb4, 0x42, 0xcd, 0x13, 0xbe, 0x40, 0x7d,
                                       0xb4, 0x43, 0xb0, 0, 0xcd, 0x13]), RESET))
        boot[0x160:0x170] = struct.pack("<BBHHHQ", 16, 0, 1, 0x6000, 0, 6)
        boot[0x140:0x150] = struct.pack("<BBHHHQ", 16, 0, 1, 0x6000, 0, 0)
        raw(self.path("disk.raw"), bytes(boot))
        with open(self.path("disk.raw"), "r+b") as file:
            file.seek(6 * 512)
            file.write(sector(PRINT, OFF, text=b"SECOND-BOOT\r\n"))
        tool("convert", self.path("disk.raw"), self.path("disk.vhdx"), "--from", "raw")
        done = vmm("--disk", self.path("disk.vhdx"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"SECOND-BOOT", done.stdout)

    def test_a_signal_ends_the_guest_and_closes_the_image(self):
        disk = self.image(sector(PRINT, SPIN))
        with subprocess.Popen([VHDVMM, "run", "--memory", "32M", "--cpus", "2", "--disk", disk],
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as running:
            text = b""
            deadline = time.monotonic() + 60
            while b"HELLO" not in text and time.monotonic() < deadline:
                text += os.read(running.stdout.fileno(), 4096)
            busy = subprocess.run([VHDVMM, "run", "--disk", disk], stderr=subprocess.PIPE,
                                  stdin=subprocess.DEVNULL, check=False, text=True)
            self.assertEqual(busy.returncode, 7, busy.stderr)
            self.assertIn(disk, busy.stderr)
            running.send_signal(signal.SIGTERM)
            self.assertEqual(running.wait(30), 130)
        tool("check", disk)

    def test_a_kernel_is_entered_directly(self):
        # A bzImage whose code prints K over the UART and powers off, in 32-bit mode.
        code = bytes([0xba, 0xf8, 3, 0, 0, 0xb0, ord("K"), 0xee, 0xba, 4, 6, 0, 0, 0x66, 0xb8, 0,
                      0x20, 0x66, 0xef, 0xf4])
        image = bytearray(1024) + code
        image[0x1f1] = 1
        struct.pack_into("<H", image, 0x1fe, 0xaa55)
        image[0x201] = 0x66
        struct.pack_into("<4sH", image, 0x202, b"HdrS", 0x20f)
        image[0x211] = 1
        struct.pack_into("<I", image, 0x22c, 0x7fffffff)
        struct.pack_into("<I", image, 0x238, 2047)
        struct.pack_into("<QI", image, 0x258, 0x100000, 0x100000)
        with open(self.path("kernel"), "wb") as file:
            file.write(image)
        done = vmm("--kernel", self.path("kernel"), "--append", "x")
        self.assertEqual((done.returncode, done.stdout), (0, b"K"), done.stderr)

    def test_an_elf_kernel_is_entered_directly(self):
        # Code that prints K and powers off where each generation's registers are.
        for generation, port in ((1, 0x604), (2, 0xb004)):
            code = bytes([0xba, 0xf8, 3, 0, 0, 0xb0, ord("K"), 0xee, 0xba])
            code += struct.pack("<I", port) + bytes([0x66, 0xb8, 0, 0x20, 0x66, 0xef, 0xf4])
            note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", 0x1000000)
            head = struct.pack("<4sBBBB8xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 2, 62, 1, 0, 64, 0,
                               0, 64, 56, 2, 0, 0, 0)
            head += struct.pack("<IIQQQQQQ", 1, 5, 176, 0, 0x1000000, len(code), len(code), 1)
            head += struct.pack("<IIQQQQQQ", 4, 4, 176 + len(code), 0, 0, len(note), len(note), 4)
            with open(self.path("kernel"), "wb") as file:
                file.write(head + code + note)
            done = vmm("--generation", str(generation), "--kernel", self.path("kernel"))
            self.assertEqual((done.returncode, done.stdout), (0, b"K"), done.stderr)

    def test_variables_are_a_copy_of_the_users(self):
        package = "/usr/share/OVMF/OVMF_VARS_4M.fd"
        if not os.path.exists(package):
            self.skipTest("no OVMF")
        with open(self.path("short"), "wb") as file:
            file.write(b"x" * 4096)
        for name, code in ((package, 2), (self.path("short"), 2), (self.path("no/such"), 4)):
            done = vmm("--generation", "2", "--vars", name)
            self.assertEqual(done.returncode, code, done.stderr)
            self.assertIn(b"--vars", done.stderr)
            self.assertIn(name.encode(), done.stderr)

    def test_refusals_name_option_file_and_reason(self):
        missing = self.path("none.vhdx")
        for words, code, parts in (
                (("--disk", missing), 4, ("--disk", missing, "No such file")),
                (("--generation", "3"), 3, ("--generation", "1 or 2")),
                (("--disk", "x.vhdx,bus=nvme"), 3, ("--disk", "nvme")),
                (("--generation", "2", "--disk", "x.vhdx,bus=ide"), 3, ("--disk", "no IDE")),
                (("--kernel", __file__), 2, ("not a Linux bzImage",)),
                (("--kernel", missing), 4, ("--kernel", missing)),
                (("--control", "sock"), 3, ("--control",)),
                (("--vars", "file"), 3, ("--vars",)),
                (("--config", "vm.json"), 3, ("--config",))):
            done = vmm(*words)
            self.assertEqual(done.returncode, code, (words, done.stderr))
            text = done.stderr.decode()
            self.assertEqual(text.count("\n"), 1, text)
            for part in parts:
                self.assertIn(part, text)


if __name__ == "__main__":
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("skipped: no /dev/kvm")
        sys.exit(77)
    if not os.path.exists("/usr/share/seabios/bios-256k.bin"):
        print("skipped: no SeaBIOS")
        sys.exit(77)
    unittest.main()
