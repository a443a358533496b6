"""QEMU and the checker on each other's images: what one writes, the other reads alike.

Skipped where qemu-img or qemu-io is absent. Left out of the second half, as QEMU cannot read them:
differencing images, 4 KiB logical sectors, bitmaps of dynamic VHDs (it ignores clear bits).
"""
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from imagebuild import bases  # noqa: E402
from imagecheck import contents  # noqa: E402
from imagecheck.chain import Options, open_chain  # noqa: E402
from imagecheck.source import FileSource  # noqa: E402

MIB = 1 << 20
SEED = int(os.environ.get("OPENVHD_CHECKER_SEED", "0"))

# name, format, options, size, range that writes fall into
IMAGES = (
    ("vhdx-1m", "vhdx", "subformat=dynamic,block_size=1M", 37 * MIB, 37 * MIB),
    ("vhdx-8m-log4m", "vhdx", "subformat=dynamic,block_size=8M,log_size=4M", 50 * MIB, 50 * MIB),
    ("vhdx-odd-size", "vhdx", "subformat=dynamic,block_size=1M", 5 * MIB + 512, 5 * MIB + 512),
    ("vhdx-fixed", "vhdx", "subformat=fixed,block_size=1M,block_state_zero=off", 9 * MIB,
     9 * MIB),
    ("vhdx-absent", "vhdx", "subformat=dynamic,block_size=2M,block_state_zero=off", 20 * MIB,
     20 * MIB),
    ("vpc-dynamic", "vpc", "subformat=dynamic", 21 * MIB, 21 * MIB),
    ("vpc-force-size", "vpc", "subformat=dynamic,force_size=on", 10 * MIB + 512, 10 * MIB),
    ("vpc-fixed", "vpc", "subformat=fixed,force_size=on", 4 * MIB, 4 * MIB),
)


@unittest.skipUnless(shutil.which("qemu-img") and shutil.which("qemu-io"), "no qemu-img, qemu-io")
class Qemu(unittest.TestCase):
    """One subtest per kind of image."""

    def run_tool(self, *arguments):
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, timeout=120)

    def write_at_random(self, path, form, size, rng):
        commands = []
        for _ in range(25):
            length = rng.choice((512, 1024, 4096, 65536, 200 * 1024))
            offset = rng.randrange(0, size - length + 1, 512)
            commands += ["-c", "write -P %d %d %d" % (rng.randrange(1, 256), offset, length)]
        self.run_tool("qemu-io", "-f", form, *commands, path)

    def test_images_read_as_qemu_reads_them(self):
        rng = random.Random(SEED)
        for name, form, options, size, written in IMAGES:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                path, raw = os.path.join(folder, name), os.path.join(folder, "raw")
                self.run_tool("qemu-img", "create", "-q", "-f", form, "-o", options, path,
                              str(size))
                self.write_at_random(path, form, written, rng)
                self.run_tool("qemu-img", "convert", "-q", "-f", form, "-O", "raw", path, raw)
                chain = open_chain(FileSource(path), Options())
                findings = [str(f) for r in chain.reports for f in r.findings
                            if f.severity != "note"]
                self.assertEqual(findings, [])
                with open(raw, "rb") as file:
                    wanted = file.read()
                self.assertEqual(chain.layers[0].size, len(wanted))
                self.assertEqual(contents.sha256(chain.layers, len(wanted)),
                                 hashlib.sha256(wanted).hexdigest())
                chain.close()

    def test_qemu_reads_what_our_writer_meant(self):
        """Else the undamaged bases of the violations would prove little."""
        for make, form in ((bases.vhdx_dynamic, "vhdx"), (bases.vhdx_dirty, "vhdx"),
                           (bases.vhd_small_blocks, "vpc"), (bases.vhd_fixed, "vpc")):
            with self.subTest(make.__name__), tempfile.TemporaryDirectory() as folder:
                image = make()
                path, raw = os.path.join(folder, image.name), os.path.join(folder, "raw")
                image.file.save(path)
                if image.name.endswith("x") and image.log_guid.int:
                    self.run_tool("qemu-img", "check", "-q", "-r", "all", "-f", form, path)
                self.run_tool("qemu-img", "convert", "-q", "-f", form, "-O", "raw", path, raw)
                with open(raw, "rb") as file:
                    self.assertEqual(file.read(), image.contents())


if __name__ == "__main__":
    unittest.main()
