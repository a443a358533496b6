"""The checker against images that other programs wrote, and against damaged copies of them.

Found through OPENVHD_CORPUS, or at ../shared/corpus beside the source tree; skipped elsewhere.
"""
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from imagecheck import contents  # noqa: E402
from imagecheck.chain import Options, open_chain  # noqa: E402
from imagecheck.source import FileSource  # noqa: E402

CORPUS = os.environ.get("OPENVHD_CORPUS") or os.path.normpath(
    os.path.join(HERE, "..", "..", "..", "shared", "corpus"))

# An entry that must be rejected breaks at least these rules (first matching pattern).
REJECTED_FOR = (
    ("dfvfs-image*", "V01 V02 V08"), ("sevenzipsharp-*", "V01"),
    ("d1-hdr-both-*", "X02"), ("d1-hdr-equal-seq*", "X02"), ("d1-hdr-*version*", "X03"),
    ("d1-log-guid-nonzero*", "L01"), ("d1-sig-*", "X01"),
    ("d1-reg-both-crc*", "X05"), ("d1-reg-duplicate*", "X05"), ("d1-reg-count*", "X05"),
    ("d1-reg-overlap*", "X07"), ("d1-reg-*", "X06"),
    ("d1-md-sig*", "X08"), ("d1-md-item-missing*", "X09"), ("d1-md-item-*", "X08"),
    ("d1-md-count*", "X08"), ("d1-md-dup*", "X08"), ("d1-md-unknown-required*", "X09"),
    ("d1-md-size-zero-len*", "X09"), ("d1-md-disksize-bat*", "X11"),
    ("d1-md-hasparent*", "X17"), ("d1-md-*", "X10"),
    ("d1-bat-two-blocks*", "X07 X14"), ("d1-bat-in-header*", "X07 X13"),
    ("d1-bat-over-metadata*", "X07"), ("d1-bat-state*", "X12"), ("d1-bat-partial*", "X12"),
    ("d1-bat-*", "X13 X18"), ("d1-trunc-payload*", "X13 X18"), ("d1-trunc-1m*", "X03"),
    ("d1-trunc-*", "X01"),
    ("d2-log-all-crc*", "L01 L02"), ("d2-log-flushed*", "L06"), ("d2-log-data-seq*", "L01 L04"),
    ("d2-log-desc-unaligned*", "L01 L05"), ("d2-log-desc-count*", "L01 L04"),
    ("d2-log-length-*", "X03"), ("d2-log-offset-*", "X03"), ("d2-log-*", "L01"),
    ("d3-footer-both-bad*", "V01 V02 V08"), ("d3-footer-both-cookie*", "V01"),
    ("d3-dynhdr-*", "V02"), ("d3-bat-entry*", "V04"), ("d3-bat-two*", "V04"), ("d3-bat-*", "V03"),
    ("d3-blocksize-*", "V03"), ("d3-type-*", "V01"), ("d3-version-*", "V01"),
    ("d3-size-*", "V01"), ("d3-trunc-half*", "V04 V08"), ("d3-trunc-512*", "V02"),
    ("d3-trunc-*", "V01"), ("d4-fixed-type-dynamic*", "V02"), ("d4-*", "V01"),
    ("d5-log-tail-outside*", "L01 L03"), ("d5-log-flushed*", "L06"),
    ("d5-log-seq-zero*", "L01 L02"), ("d5-log-entry-length-short*", "L01 L04"),
    ("d5-log-entry-length-huge*", "L01 L02"), ("d5-log-zero-length*", "L01 L05"),
    ("d6-parent-missing*", "C01"), ("d6-*cycle*", "C02"), ("d6-linkage-*", "C01"),
    ("d6-bitmap-missing*", "X15"), ("d6-bitmap-out*", "X13"),
    ("d6-parent-sector*", "C01"), ("d6-*", "X17"),
    ("d7-parent-missing*", "C01"), ("d7-self-cycle*", "C02"), ("d7-parent-uuid*", "C01 V06"),
    ("d7-*", "V06"),
)

# Warnings about files that must open: each is a deviation that real writers or crashes leave.
TOLERATED = (
    ("qemu-test-disk2vhd*", "X02 X18"),      # identical headers, 512 bytes behind the last MiB
    ("qemu-vhdx-fixed*", "X16"),             # QEMU: fixed, but blocks are ZERO
    ("d1-hdr-*-crc*", "X02"), ("d1-hdr-logversion7*", "X03"), ("d1-reg?-crc*", "X05"),
    ("d3-footer-*", "V02 V08"), ("d3-head-copy*", "V02"), ("d3-trailing*", "V02 V08"),
    ("d3-geometry-zero*", "V07"), ("d4-footer-511*", "V01"), ("d6-linkage2*", "C01"),
)
FACTS = ("virtual_size", "block_size", "block_states")


def rules_for(table, name):
    """The rules of the first pattern that fits `name`."""
    for pattern, rules in table:
        if fnmatch.fnmatch(name, pattern):
            return set(rules.split())
    return set()


class Unpacker:
    """Unpacks one entry and its companions into a folder of its own."""

    def __init__(self, manifest):
        self._by_id = {entry["id"]: entry for entry in manifest["entries"]}

    def put(self, entry, folder):
        path = self._one(entry, folder, entry["unpacked_name"])
        for companion in entry.get("companions", []):
            self._one(self._by_id[companion["id"]], folder, companion["as"])
        return path

    @staticmethod
    def _one(entry, folder, name):
        path = os.path.join(folder, name)
        subprocess.run(["zstd", "-q", "-d", "-f", "--sparse", os.path.join(CORPUS, entry["file"]),
                        "-o", path], check=True)
        return path


@unittest.skipUnless(os.path.exists(os.path.join(CORPUS, "MANIFEST.json")),
                     "no corpus: set OPENVHD_CORPUS")
@unittest.skipUnless(shutil.which("zstd"), "no zstd command")
class Corpus(unittest.TestCase):
    """One subtest per manifest entry."""

    @classmethod
    def setUpClass(cls):
        with open(os.path.join(CORPUS, "MANIFEST.json"), encoding="utf-8") as file:
            cls.manifest = json.load(file)
        cls.unpacker = Unpacker(cls.manifest)

    def for_each(self, expectation, body):
        entries = [e for e in self.manifest["entries"] if e["expectation"] == expectation]
        self.assertTrue(entries)
        for entry in entries:
            with self.subTest(entry["id"]), tempfile.TemporaryDirectory() as folder:
                path = self.unpacker.put(entry, folder)
                chain = open_chain(FileSource(path), Options(raw_parent=True))
                try:
                    body(entry, chain)
                finally:
                    chain.close()

    def findings(self, chain, severity):
        return [str(f) for r in chain.reports for f in r.findings if f.severity == severity]

    def check_contents(self, chain, wanted):
        size = chain.layers[0].size
        if "sha256" in wanted:
            self.assertEqual(contents.sha256(chain.layers, size), wanted["sha256"])
        if "sha256_first" in wanted:
            self.assertEqual(contents.sha256(chain.layers, wanted["sha256_first_bytes"]),
                             wanted["sha256_first"])
        extents = wanted.get("extents", [])
        for extent in extents:
            self.assertEqual(contents.range_sha256(chain.layers, extent["offset"],
                                                   extent["length"]), extent["sha256"])
        if wanted.get("elsewhere") == "zero":
            self.check_zero_elsewhere(chain, extents, size)

    def check_zero_elsewhere(self, chain, extents, size):
        for offset, data in contents.units(chain.layers, size):
            data = bytearray(data)
            for extent in extents:
                low = max(0, extent["offset"] - offset)
                high = min(len(data), extent["offset"] + extent["length"] - offset)
                if low < high:
                    data[low:high] = bytes(high - low)
            self.assertFalse(any(data), "data at %d that no extent names" % offset)

    def check_facts(self, chain, wanted):
        got = chain.reports[0].facts
        for key in FACTS:
            if key in wanted:
                self.assertEqual(got.get(key), wanted[key], key)
        if wanted.get("kind"):
            self.assertEqual(got["kind"], wanted["kind"].replace("diff", "differencing"))
        if "log_dirty" in wanted:
            self.assertEqual(got["log"]["dirty"], wanted["log_dirty"])
        if "log_entries_to_replay" in wanted:
            self.assertEqual(got["log"]["replay_entries"], wanted["log_entries_to_replay"])
            self.assertEqual(got["log"]["replay_descriptors"], wanted["log_descriptors"])
        if "headers" in wanted:
            self.assertEqual([h["sequence"] for h in got["headers"]],
                             [h["seq"] for h in wanted["headers"]])
        if "data_write_guid" in wanted:
            self.assertEqual(got["data_write_guid"], wanted["data_write_guid"])
            self.assertEqual(got["page83"], wanted["disk_id"])

    def test_images_that_open_read_as_recorded(self):
        def body(entry, chain):
            self.assertEqual(self.findings(chain, "error"), [])
            self.assertTrue(chain.complete)
            warned = {f.rule for r in chain.reports for f in r.findings
                      if f.severity == "warning"}
            self.assertEqual(warned, rules_for(TOLERATED, entry["id"]))
            self.check_facts(chain, entry["facts"])
            self.check_contents(chain, entry["content"])

        self.for_each("opens", body)

    def test_images_to_reject_break_the_expected_rules(self):
        def body(entry, chain):
            found = set().union(*(report.rules("error") for report in chain.reports))
            wanted = rules_for(REJECTED_FOR, entry["id"])
            self.assertTrue(wanted, "no rule is listed for this entry")
            self.assertLessEqual(wanted, found)

        self.for_each("must be rejected", body)

    def test_doubtful_images_are_refused_or_read_as_recorded(self):
        def body(entry, chain):
            if chain.complete and not self.findings(chain, "error"):
                self.check_contents(chain, entry["content"])
            else:
                self.assertTrue(self.findings(chain, "error"))

        self.for_each("either", body)

    def test_manifest_hashes_match_the_files(self):
        """The rest means nothing on a damaged copy of the corpus; packed files suffice."""
        for entry in self.manifest["entries"]:
            with open(os.path.join(CORPUS, entry["file"]), "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            self.assertEqual(digest, entry["compressed_sha256"], entry["id"])


if __name__ == "__main__":
    unittest.main()
