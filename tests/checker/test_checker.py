"""The checker against images built here: clean ones, and at least two violations of each rule."""
import collections
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import violations  # noqa: E402
from imagebuild import bases  # noqa: E402
from imagecheck import catalogue, contents, transition  # noqa: E402
from imagecheck.chain import Options, open_chain, plain_component  # noqa: E402


class MemoryFinder:
    """Parents out of a dictionary of files."""

    def __init__(self, files):
        self._files = files

    def candidates(self, _child, relative, _others):
        name = plain_component(relative or "")
        if name in self._files:
            yield self._files[name]


def check(case, **options):
    """The chain of a Case, judged with its older state where it has one."""
    finder = MemoryFinder(case.files)
    chain = open_chain(case.target.file, Options(**options), finder)
    if case.before:
        before = open_chain(case.before, Options(**options), finder)
        transition.check(before, chain, chain.reports[0])
    return chain


def reported(chain, severity):
    return set().union(*(report.rules(severity) for report in chain.reports))


def lines(chain, *severities):
    return [str(f) for report in chain.reports for f in report.findings
            if f.severity in severities]


class CleanImages(unittest.TestCase):
    """Undamaged images: no finding above a note, and the contents the writer meant."""

    def assert_clean(self, case, wanted):
        chain = check(case)
        self.assertEqual(lines(chain, "error", "warning"), [])
        self.assertTrue(chain.complete)
        self.assertEqual(chain.layers[0].size, len(wanted))
        self.assertEqual(contents.sha256(chain.layers, len(wanted)),
                         hashlib.sha256(wanted).hexdigest())
        return chain

    def test_single_images(self):
        for make in (bases.vhdx_dynamic, bases.vhdx_fixed, bases.vhdx_dirty, bases.vhd_fixed,
                     bases.vhd_dynamic, bases.vhd_small_blocks):
            with self.subTest(make.__name__):
                image = make()
                chain = self.assert_clean(bases.Case(image), image.contents())
                self.assertIn(chain.reports[0].facts["kind"], ("dynamic", "fixed"))

    def test_differencing_images(self):
        for make in (bases.vhdx_chain, bases.vhd_chain, bases.vhdx_dirty_chain):
            with self.subTest(make.__name__):
                case = make()
                parent = next(i for n, i in case.images.items() if n.startswith("parent"))
                self.assert_clean(case, case.target.contents(parent.contents()))

    def test_dirty_parent_under_a_child(self):
        parent = bases.vhdx_dirty("parent.vhdx")
        child = bases.vhdx_child(parent)
        self.assert_clean(bases.Case(child, parent), child.contents(parent.contents()))

    def test_blocks_beyond_the_first_chunk(self):
        image = bases.vhdx_wide()
        chain = check(bases.Case(image))
        self.assertEqual(lines(chain, "error", "warning"), [])
        found, complete = contents.data_extents(chain.layers, image.size, 10)
        self.assertTrue(complete)
        self.assertEqual([extent["offset"] for extent in found],
                         [15 * image.block_size, 16 * image.block_size])
        data = image.blocks[16][1]
        self.assertEqual(contents.range_sha256(chain.layers, 16 * image.block_size, len(data)),
                         hashlib.sha256(data).hexdigest())

    def test_64_tib_with_three_blocks(self):
        image = bases.vhdx_huge()
        chain = check(bases.Case(image))
        self.assertEqual(lines(chain, "error", "warning"), [])
        count = image.size >> 20
        self.assertEqual(chain.reports[0].facts["block_states"],
                         {"fully_present": 3, "not_present": count - 3})
        found, complete = contents.data_extents(chain.layers, image.size, 10)
        self.assertTrue(complete)
        self.assertEqual([(e["offset"] >> 20, e["length"]) for e in found],
                         [(0, contents.UNIT), ((count - 1) // 2, contents.UNIT),
                          (count - 1, 1 << 20)])
        self.assertEqual(found[-1]["sha256"],
                         hashlib.sha256(image.blocks[count - 1][1]).hexdigest())

    def test_three_layers(self):
        parent = bases.vhd_dynamic("parent.vhd")
        middle = bases.vhd_child(parent, "middle.vhd")
        leaf = bases.vhd_child(middle, "leaf.vhd", blocks={1: (b"\x5a" * 1024, {1})},
                               unique_id=bases.LOG_ID)
        wanted = leaf.contents(middle.contents(parent.contents()))
        self.assert_clean(bases.Case(leaf, middle, parent), wanted)

    def test_tapdisk_0_1_writes_bitmaps_the_other_way_round(self):
        image = bases.vhd_dynamic()
        image.creator, image.creator_version = b"tap\0", 1
        image.build()
        for block in image.blocks:
            place = image.block_place(block)
            raw = image.file.read(place, image.bitmap_size)
            image.file.write(place, bytes(int("{:08b}".format(b)[::-1], 2) for b in raw))
        self.assert_clean(bases.Case(image), image.contents())

    def test_locator_space_in_sectors_is_read_too(self):
        case = bases.vhd_chain()
        image = case.target
        for index in range(2):
            image.file.pack(image.header_place + 576 + 24 * index + 4, ">I", 1)
        image.fix_header()
        parent = case.images["parent.vhd"]
        self.assert_clean(case, image.contents(parent.contents()))

    def test_short_footer_of_old_virtual_pc(self):
        image = bases.vhd_fixed()
        image.file.truncate(image.file.size - 1)
        chain = check(bases.Case(image))
        self.assertEqual(reported(chain, "warning"), {"V01"})
        self.assertEqual(contents.sha256(chain.layers, image.size),
                         hashlib.sha256(image.contents()).hexdigest())

    def test_child_larger_than_parent_reads_zeros_behind_it(self):
        parent = bases.vhd_dynamic("parent.vhd")
        child = bases.vhd_child(parent, size=parent.size - (1 << 20) + (4 << 20), blocks={})
        self.assert_clean(bases.Case(child, parent), child.contents(parent.contents()))


class Violations(unittest.TestCase):
    """Each damaged image is reported by id, with the severity the table says."""

    def test_each_is_reported(self):
        for violation in violations.VIOLATIONS:
            with self.subTest(violation.name):
                chain = check(violation.build(), **violation.options)
                self.assertLessEqual(violation.ids, reported(chain, violation.severity),
                                     lines(chain, "error", "warning", "note"))
                if violation.severity == "warning":
                    self.assertEqual(lines(chain, "error"), [])

    def test_warnings_leave_the_contents_alone(self):
        """A warning says that the disk can still be read: then it reads as before the damage."""
        changes_blocks = {"x13-zero-with-offset", "x13-anchor-past-end", "x16-zero-block",
                          "x16-absent-block", "x16-unmapped-block", "x12-unused-entry",
                          "v01-fixed-too-long", "v07-creator-means-geometry"}
        compared = 0
        for violation in violations.VIOLATIONS:
            if violation.severity != "warning" or not violation.damage:
                continue
            if violation.name in changes_blocks:
                continue
            with self.subTest(violation.name):
                digests = []
                for case in (violation.undamaged(), violation.build()):
                    chain = check(case)
                    self.assertTrue(chain.complete)
                    digests.append(contents.sparse_digest(chain.layers, chain.layers[0].size))
                if violation.name != "x19-data-guid-changed-for-nothing":
                    compared += 1
                self.assertEqual(digests[0], digests[1])
        self.assertGreater(compared, 25)

    def test_every_id_has_two_images_or_a_reason(self):
        count = collections.Counter(rule for v in violations.VIOLATIONS for rule in v.ids)
        for rule in violations.IDS:
            with self.subTest(rule):
                if rule in violations.NO_IMAGE:
                    self.assertEqual(count[rule], 0)
                    self.assertTrue(violations.NO_IMAGE[rule])
                else:
                    self.assertGreaterEqual(count[rule], 2)
        self.assertGreaterEqual(len(violations.VIOLATIONS), 120)
        names = [violation.name for violation in violations.VIOLATIONS]
        self.assertEqual(len(names), len(set(names)))

    def test_bases_of_violations_are_clean_before_the_damage(self):
        """Else the damage would prove nothing."""
        for violation in violations.VIOLATIONS:
            if not violation.damage:
                continue
            with self.subTest(violation.name):
                case = violation.undamaged()
                self.assertEqual(lines(check(case, **violation.options), "error", "warning"), [])

    def test_endless_findings_are_counted_and_not_kept(self):
        image = bases.vhdx_dynamic()
        image.file.write(image.bat_offset, (5).to_bytes(8, "little") * 12)
        image.file.write(image.bat_offset + 8 * 600, bytes(range(1, 201)) * 8)
        report = check(bases.Case(image)).reports[0]
        kept = [f for f in report.findings if (f.rule, f.severity) == ("X12", "warning")]
        self.assertEqual(len(kept), 32)
        self.assertGreater(report.suppressed["X12"], 100)
        self.assertEqual(report.facts["block_states"], {"reserved_5": 12})

    def test_catalogue_lists_the_same_ids(self):
        self.assertEqual(sorted(catalogue.INVARIANTS), sorted(violations.IDS))
        for rule in violations.NO_IMAGE:
            self.assertEqual(catalogue.INVARIANTS[rule][1], catalogue.NOT)


class CommandLine(unittest.TestCase):
    """The program on real files."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        for name, file in bases.vhdx_chain().files.items():
            file.save(cls.path(name))
        for image in (bases.vhd_dynamic("ok.vhd"), bases.vhdx_dirty("dirty.vhdx")):
            image.file.save(cls.path(image.name))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def run_checker(self, *arguments):
        result = subprocess.run([sys.executable, os.path.join(HERE, "vhdcheck.py"), *arguments],
                                capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual("Traceback" in result.stderr, False, result.stderr)
        return result

    def test_exit_codes(self):
        bad = self.path("bad.vhd")
        with open(bad, "wb") as out:
            out.write(b"conectix" + bytes(1000))
        fifo = self.path("fifo")
        os.mkfifo(fifo)
        for code, arguments in ((0, [self.path("ok.vhd")]), (2, [bad]), (2, [bad, bad]),
                                (3, [self.path("none.vhd")]), (3, [fifo]), (3, []),
                                (3, ["--no-such-option"]), (0, ["--list"]),
                                (3, ["--range", "5", self.path("ok.vhd")]),
                                (3, ["--first", "-1", self.path("ok.vhd")]),
                                (3, ["--contents", self.path("ok.vhd"), self.path("ok.vhd")]),
                                (3, [self.path("ok.vhd"), bad, fifo])):
            with self.subTest(arguments):
                self.assertEqual(self.run_checker(*arguments).returncode, code)

    def test_json_has_facts_findings_and_contents(self):
        case = bases.vhdx_chain()
        wanted = case.target.contents(case.images["parent.vhdx"].contents())
        out = self.path("out.raw")
        result = self.run_checker("--json", "--sha256", "--extents", "--sparse-digest",
                                  "--contents", out, self.path("child.vhdx"))
        self.assertEqual(result.returncode, 0, result.stdout)
        image = json.loads(result.stdout)["images"][0]
        self.assertEqual(image["facts"]["kind"], "differencing")
        self.assertEqual(len(image["parents"]), 1)
        self.assertEqual(image["contents"]["sha256"], hashlib.sha256(wanted).hexdigest())
        with open(out, "rb") as file:
            self.assertEqual(file.read(), wanted)

    def test_one_process_judges_files_as_they_come(self):
        with subprocess.Popen([sys.executable, os.path.join(HERE, "vhdcheck.py"), "--json-lines",
                               "--sparse-digest", "--files-from", "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True) as process:
            for name, verdict in (("ok.vhd", "clean"), ("none.vhd", "unreadable"),
                                  ("dirty.vhdx", "clean"), ("ok.vhd", "clean")):
                process.stdin.write(self.path(name) + "\n")
                process.stdin.flush()
                entry = json.loads(process.stdout.readline())
                self.assertEqual((entry["file"], entry["verdict"]), (self.path(name), verdict))
            process.stdin.close()
            self.assertEqual(process.wait(60), 3)

    def test_no_chain_and_parent_dir(self):
        with tempfile.TemporaryDirectory() as folder:
            bases.vhdx_chain().target.file.save(os.path.join(folder, "child.vhdx"))
            child = os.path.join(folder, "child.vhdx")
            self.assertEqual(self.run_checker(child).returncode, 2)
            self.assertEqual(self.run_checker("--no-chain", child).returncode, 0)
            self.assertEqual(self.run_checker("--parent-dir", self.folder.name,
                                              child).returncode, 0)

    def test_a_linked_parent_is_not_followed(self):
        with tempfile.TemporaryDirectory() as folder:
            child = os.path.join(folder, "child.vhdx")
            bases.vhdx_chain().target.file.save(child)
            os.symlink(self.path("parent.vhdx"), os.path.join(folder, "parent.vhdx"))
            self.assertEqual(self.run_checker(child).returncode, 2)

    def test_a_hard_link_to_itself_is_a_cycle(self):
        with tempfile.TemporaryDirectory() as folder:
            child = os.path.join(folder, "child.vhdx")
            bases.vhdx_chain().target.file.save(child)
            os.link(child, os.path.join(folder, "parent.vhdx"))
            result = self.run_checker("--json", child)
            self.assertEqual(result.returncode, 2)
            findings = json.loads(result.stdout)["images"][0]["findings"]
            self.assertEqual([f["id"] for f in findings], ["C02"])

    def test_names_that_are_no_text_are_printed_all_the_same(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(os.fsencode(folder), b"bad\xff\xfe.vhd")
            bases.vhd_dynamic().file.save(path)
            for extra in ([], ["--json"]):
                self.assertEqual(self.run_checker(*extra, os.fsdecode(path)).returncode, 0)

    def test_images_are_not_written(self):
        path = self.path("dirty.vhdx")
        with open(path, "rb") as file:
            before = hashlib.sha256(file.read()).digest()
        stamp = os.stat(path).st_mtime_ns
        self.assertEqual(self.run_checker("--sha256", path).returncode, 0)
        with open(path, "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).digest(), before)
        self.assertEqual(os.stat(path).st_mtime_ns, stamp)

    def test_sparse_digest_is_the_same_in_both_formats(self):
        raw = bases.vhd_dynamic("x.vhd").contents()
        other = bases.Vhdx("x.vhdx")
        other.size = len(raw)
        other.blocks = {n: (6, raw[n << 20:(n + 1) << 20], None) for n in range(len(raw) >> 20)}
        other.build()
        digests = set()
        for image in (bases.vhd_dynamic("x.vhd"), other):
            chain = check(bases.Case(image))
            digests.add(contents.sparse_digest(chain.layers, image.size))
        self.assertEqual(len(digests), 1)


if __name__ == "__main__":
    unittest.main()
