#!/usr/bin/env python3
"""create, info, io, check, map, dump and replay on images that vhdtool makes."""

import os
import subprocess
import unittest
import xml.etree.ElementTree

from program import (BUSY, Case, DIFFERENT, IO, KIB, MIB, NOT_FOUND, OK, READ_ONLY, REFUSED, USAGE,
                     bytes_of, needs)

SVG = "{http://www.w3.org/2000/svg}"


class Create(Case):
    def info(self, path, *options):
        return self.run_tool("info", path, "--json", *options).json()["layers"]

    def test_sizes_are_exact_in_every_kind(self):
        for ending in ("vhd", "vhdx"):
            for kind in ("fixed", "dynamic"):
                with self.subTest(f"{ending} {kind}"):
                    path = self.create(f"{kind}.{ending}", 5 * MIB + 512, "--type", kind)
                    layer = self.info(path)[0]
                    self.assertEqual(layer["virtual_size"], 5 * MIB + 512)
                    self.assertEqual((layer["format"], layer["type"]), (ending, kind))
                    self.assertEqual(layer["file_size"], os.path.getsize(path))
                    self.run_tool("check", path)

    def test_shape_is_as_asked(self):
        path = self.create("a.vhdx", "1T", "--block-size", "1M", "--logical-sector", "4096",
                           "--physical-sector", "4096", "--log-size", "2M")
        layer = self.info(path)[0]
        self.assertEqual(layer["block_size"], MIB)
        self.assertEqual(layer["logical_sector_size"], 4096)
        self.assertEqual(layer["log"], {"state": "clean", "bytes": 2 * MIB, "replayed_entries": 0})
        self.assertEqual(layer["virtual_size"], 1 << 40)
        text = self.run_tool("info", path).out
        self.assertIn("VHDX dynamic, 1 TiB", text)
        self.assertIn("1 TiB (1,099,511,627,776 bytes)", text)

    def test_what_contradicts_is_refused_and_leaves_nothing(self):
        for name, options in (("a.vhdx", ("--size", "1000")), ("a.img", ("--size", "1M")),
                              ("a.vhdx", ("--size", "65T")), ("a.vhd", ("--size", "3T")),
                              ("a.vhdx", ("--size", "1G", "--block-size", "3M")),
                              ("a.vhd", ("--size", "1G", "--logical-sector", "4096")),
                              ("a.vhdx", ("--size", "1G", "--azure")),
                              ("a.vhd", ("--size", "1000K", "--azure")),
                              ("a.vhdx", ("--size", "1G", "--type", "differencing"))):
            with self.subTest(f"{name} {options}"):
                self.run_tool("create", self.path(name), *options, code=USAGE)
                self.assertEqual(os.listdir(self.folder), [])

    def test_an_existing_file_stays_unless_told(self):
        path = self.path("a.vhdx")
        with open(path, "wb") as file:
            file.write(b"precious")
        outcome = self.run_tool("create", path, "--size", "1M", code=None)
        self.assertNotEqual(outcome.code, OK)
        self.assertEqual(bytes_of(path), b"precious")
        self.run_tool("create", path, "--size", "1M", "--overwrite")
        self.run_tool("check", path)

    def test_azure_makes_a_fixed_vhd(self):
        path = self.create("a.vhd", 20 * MIB, "--azure")
        self.assertEqual(os.path.getsize(path), 20 * MIB + 512)
        self.assertEqual(self.info(path)[0]["type"], "fixed")
        self.run_tool("check", path, "--azure")

    def test_a_child_reads_through_its_parent(self):
        for ending in ("vhd", "vhdx"):
            with self.subTest(ending):
                base = self.create(f"base.{ending}", 8 * MIB)
                self.io(base, "write -P 1 0 3M")
                child = self.path(f"child.{ending}")
                self.run_tool("create", child, "--parent", base)
                self.io(child, "write -P 2 1M 512", "read -P 1 0 1M", "read -P 2 1M 512",
                        "read -P 1 1049088 512", "read -P 0 3M 5M")
                chain = self.info(child, "--chain")
                self.assertEqual([layer["type"] for layer in chain], ["differencing", "dynamic"])
                self.assertEqual(chain[0]["virtual_size"], 8 * MIB)
                self.assertEqual(len(self.info(child)), 1)
                self.assertIn("└─ ", self.run_tool("info", child, "--chain").out)
                self.run_tool("check", child, "--chain")
                os.remove(base)
                self.run_tool("info", child)
                self.run_tool("info", child, "--chain", code=REFUSED)

    def test_what_is_wrong_with_a_child_is_not_told_of_its_parent(self):
        for ending, options in (("vhdx", ("--size", "4M")), ("vhd", ("--size", "4M")),
                                ("vhdx", ("--logical-sector", "4096")),
                                ("vhdx", ("--block-size", "3M"))):
            with self.subTest(f"{ending} {options}"):
                base = self.path(f"base.{ending}")
                self.run_tool("create", base, "--size", "8M", "--overwrite")
                child = self.path(f"child.{ending}")
                outcome = self.run_tool("create", child, "--parent", base, *options, code=USAGE)
                self.assertTrue(outcome.err.startswith(f"vhdtool: {child}: "), outcome.err)
                self.assertFalse(os.path.exists(child))

    @needs("qemu-img")
    def test_qemu_sees_the_same_disk(self):
        for ending, driver in (("vhd", "vpc"), ("vhdx", "vhdx")):
            for kind in ("fixed", "dynamic"):
                with self.subTest(f"{ending} {kind}"):
                    path = self.create(f"{kind}.{ending}", 64 * MIB, "--type", kind)
                    self.io(path, "write -P 7 5M 100K", "flush")
                    raw = self.path("raw")
                    subprocess.run(["qemu-img", "convert", "-f", driver, "-O", "raw", path, raw],
                                   check=True, timeout=60)
                    self.assertEqual(os.path.getsize(raw), 64 * MIB)
                    self.run_tool("compare", path, raw, "--format-b", "raw")


class Io(Case):
    def test_patterns_are_written_and_verified(self):
        path = self.create("a.vhdx", 64 * MIB)
        self.io(path, "write -P 0xa5 1M 64K", "read -P 0xa5 1M 64K", "read -P 0 0 1M", "flush")
        self.io(path, "write 4K 4K", "read -P 0xcd 4K 4K", "zero 5K 1K", "read -P 0 5K 1K",
                "discard 1M 64K", "read -P 0 1M 64K")
        self.io(path, "write -P 3 1000 3", "read -P 3 1000 3", "read -P 0 999 1",
                "read -P 0 1003 1")

    def test_a_pattern_that_does_not_match_is_1_and_one_line(self):
        path = self.create("a.vhdx", MIB)
        outcome = self.io(path, "write -P 1 512 512", "read -P 1 0 1K", "length", code=DIFFERENT)
        self.assertEqual(outcome.err,
                         f"vhdtool: {path}: 0x0: read: 0x01 expected, 0x00 found; "
                         "512 wrong bytes in all\n")
        self.assertEqual(outcome.out, f"{MIB}\n")  # the rest ran

    def test_the_first_failure_ends_the_run(self):
        path = self.create("a.vhdx", MIB)
        outcome = self.io(path, "read 1M 1", "write -P 1 0 512", code=USAGE)
        self.assertIn("a.vhdx", outcome.err)
        self.io(path, "read -P 0 0 512")

    def test_a_range_beyond_the_disk_moves_nothing(self):
        path = self.create("a.vhdx", 3 * MIB)
        for command in ("write -P 0x77 0 4M", "write 2M 4G", "zero 0 4M",
                        "discard 0 4M", "read -P 0 0 4M", "read 1M 3M"):
            with self.subTest(command):
                outcome = self.io(path, command, code=USAGE)
                self.assertEqual(outcome.out, "")
                self.assertIn("beyond the end of the disk", outcome.err)
        self.assertIn("a.vhdx: 0x300000: ", self.io(path, "write 0 4M", code=USAGE).err)
        self.assertIn("a.vhdx: 0x900000: ", self.io(path, "read 9M 1", code=USAGE).err)
        self.io(path, "read -P 0 0 3M")

    def test_read_only_writes_nothing(self):
        path = self.create("a.vhdx", MIB)
        before = bytes_of(path)
        self.io(path, "write 0 512", code=READ_ONLY, options=["-r"])
        self.io(path, "read -P 0 0 1M", options=["--read-only"])
        self.assertEqual(bytes_of(path), before)

    def test_bytes_are_shown(self):
        path = self.create("a.vhd", MIB)
        outcome = self.io(path, "write -P 0x41 16 16", "read 0 64")
        self.assertEqual(outcome.out.splitlines(), [
            "000000000000  " + "00 " * 8 + " " + "00 " * 8 + " |................|",
            "000000000010  " + "41 " * 8 + " " + "41 " * 8 + " |AAAAAAAAAAAAAAAA|",
            "000000000020  " + "00 " * 8 + " " + "00 " * 8 + " |................|",
            "*",
            "000000000040"])

    def test_json_tells_of_every_command(self):
        path = self.create("a.vhdx", MIB)
        outcome = self.io(path, "write -P 1 0 2", "read 0 4", "read -P 2 0 1", "length", "map",
                          code=DIFFERENT, options=["--json"])
        commands = outcome.json()["commands"]
        self.assertEqual([c["exit_code"] for c in commands], [0, 0, 1, 0, 0])
        self.assertEqual(commands[1]["data"], "01010000")
        self.assertEqual((commands[2]["matches"], commands[2]["first_wrong"]), (False, 0))
        self.assertEqual(commands[3]["length"], MIB)
        self.assertEqual(sum(e["length"] for e in commands[4]["extents"]), MIB)
        outcome = self.io(path, "read 9M 1", "length", code=USAGE, options=["--json"])
        self.assertEqual([c["error"]["code"] for c in outcome.json()["commands"]],
                         ["out-of-range"])

    def test_a_raw_disk_has_to_be_named(self):
        path = self.path("a.raw")
        with open(path, "wb") as file:
            file.truncate(MIB)
        self.io(path, "length", code=REFUSED)
        self.io(path, "write -P 9 0 1", options=["--format", "raw"])
        self.assertEqual(bytes_of(path)[:2], b"\x09\0")


class Crash(Case):
    """Images that were not closed, as a killed process leaves them."""

    def crashed(self, name="a.vhdx"):
        path = self.create(name, 64 * MIB, "--block-size", "1M") if name.endswith("x") else \
            self.create(name, 64 * MIB)
        self.io(path, "write -P 5 10M 2M", "flush", "write -P 6 30M 1M",
                options=["--crash-after", "2"])
        return path

    def test_what_was_flushed_is_there_and_nothing_else(self):
        for name in ("a.vhdx", "a.vhd"):
            with self.subTest(name):
                path = self.crashed(name)
                before = bytes_of(path)
                checks = ("read -P 5 10M 2M", "read -P 0 0 10M", "read -P 0 12M 52M")
                self.io(path, *checks, options=["-r"])
                self.assertEqual(bytes_of(path), before)
                self.io(path, *checks)
                # A VHD may keep the room that it had taken ahead: a warning.
                self.run_tool("check", path, code=OK if name.endswith("x") else None)

    def test_reading_a_dirty_image_does_not_change_it(self):
        path = self.crashed()
        self.assertEqual(self.log_state(path), "dirty")
        child = self.path("child.vhdx")
        before = bytes_of(path)
        self.run_tool("info", path)
        self.run_tool("map", path)
        self.run_tool("check", path)
        self.run_tool("dump", path)
        self.run_tool("replay", path, "--dry-run")
        self.run_tool("compare", path, path)
        self.assertEqual(self.raw_of(path)[10 * MIB:12 * MIB], b"\x05" * (2 * MIB))
        self.run_tool("create", child, "--parent", path)
        self.io(child, "write -P 8 0 512", "read -P 5 10M 2M")
        self.assertEqual(bytes_of(path), before)

    def log_state(self, path):
        return self.run_tool("info", path, "--json").json()["layers"][0]["log"]["state"]

    def test_replay_empties_the_log(self):
        path = self.crashed()
        plan = self.run_tool("replay", path, "--dry-run", "--json").json()
        self.assertTrue(plan["was_dirty"])
        self.assertGreater(plan["entries"], 0)
        self.assertGreater(plan["sectors"], 0)
        done = self.run_tool("replay", path, "--json").json()
        self.assertEqual({**plan, "dry_run": False}, done)
        self.assertEqual(self.log_state(path), "clean")
        self.assertIn("nothing to replay", self.run_tool("replay", path).out)
        self.io(path, "read -P 5 10M 2M")

    def test_crash_before_anything(self):
        path = self.create("a.vhdx", 64 * MIB)
        self.io(path, "write 0 512", options=["--crash-after", "0"])
        self.io(path, "read -P 0 0 64M")
        self.run_tool("check", path)

    @needs("qemu-io")
    def test_two_writers_do_not_meet(self):
        path = self.create("a.vhdx", 64 * MIB)
        with subprocess.Popen(["qemu-io", "-f", "vhdx", path], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE) as qemu:
            qemu.stdin.write(b"length\n")
            qemu.stdin.flush()
            while b"64 MiB" not in (line := qemu.stdout.readline()):
                self.assertTrue(line, "qemu-io ended")
            outcome = self.io(path, "length", code=BUSY)
            self.assertIn("a.vhdx", outcome.err)
            self.run_tool("info", path)  # looks without a lock
            qemu.stdin.close()
            qemu.wait(timeout=60)
        self.io(path, "length")


class Check(Case):
    def test_clean_is_0_and_says_so(self):
        paths = [self.create("a.vhdx", MIB), self.create("b.vhd", MIB)]
        outcome = self.run_tool("check", *paths)
        self.assertEqual(outcome.out, f"{paths[0]}: VHDX: clean\n{paths[1]}: VHD: clean\n")
        report = self.run_tool("check", "--json", *paths).json()
        self.assertTrue(report["clean"])
        self.assertEqual([i["check"]["clean"] for i in report["images"]], [True, True])

    def damage(self, path, at, data=b"\xff" * 16):
        with open(path, "r+b") as file:
            file.seek(at)
            file.write(data)

    def test_damage_is_found_by_id_and_repair_can_be_undone(self):
        for name, at, rule in (("a.vhdx", 64 * KIB, "X02"), ("b.vhdx", 192 * KIB, "X05"),
                               ("c.vhd", 0, "V02")):
            with self.subTest(name):
                path = self.create(name, 8 * MIB)
                self.io(path, "write -P 4 1M 1M")
                healthy = self.raw_of(path)
                self.run_tool("check", "--repair", path)
                self.assertFalse(os.path.exists(path + ".undo"))
                self.damage(path, at)
                damaged = bytes_of(path)
                outcome = self.run_tool("check", "--json", path, code=None)
                self.assertIn(outcome.code, (DIFFERENT, REFUSED))
                findings = outcome.json()["images"][0]["check"]["files"][0]["findings"]
                mine = [f for f in findings if f["id"] == rule]
                self.assertTrue(mine, findings)
                self.assertTrue(mine[0]["repairable"], mine)
                self.assertIn(rule, self.run_tool("check", path, code=outcome.code).out)
                self.assertEqual(bytes_of(path), damaged)
                repaired = self.run_tool("check", "--repair", path)
                self.assertIn(path + ".undo", repaired.out)
                self.run_tool("check", path)
                self.assertEqual(self.raw_of(path), healthy)
                self.run_tool("check", "--undo", path)
                self.assertEqual(bytes_of(path), damaged)
                self.assertFalse(os.path.exists(path + ".undo"))

    def test_an_undo_file_in_the_way_is_named(self):
        path = self.create("a.vhdx", 8 * MIB)
        with open(path + ".undo", "wb") as file:
            file.write(b"of an earlier repair")
        self.damage(path, 64 * KIB)
        before = bytes_of(path)
        outcome = self.run_tool("check", "--repair", path, code=USAGE)
        self.assertTrue(outcome.err.startswith(f"vhdtool: {path}.undo: "), outcome.err)
        for word in ("earlier repair", "--undo", "remove"):
            self.assertIn(word, outcome.err)
        report = self.run_tool("check", "--repair", "--json", path, code=USAGE).json()
        self.assertEqual(report["images"][0]["error"]["file"], path + ".undo")
        self.assertEqual(bytes_of(path), before)
        self.assertEqual(bytes_of(path + ".undo"), b"of an earlier repair")
        os.remove(path + ".undo")
        os.mkdir(path + ".undo")
        outcome = self.run_tool("check", "--repair", path, code=USAGE)
        self.assertTrue(outcome.err.startswith(f"vhdtool: {path}.undo: "), outcome.err)

    def test_an_undo_file_that_does_not_fit_is_named(self):
        path = self.create("a.vhdx", 8 * MIB)
        with open(path + ".undo", "wb") as file:
            file.write(b"\x11" * 8192)
        outcome = self.run_tool("check", "--undo", path, code=REFUSED)
        self.assertTrue(outcome.err.startswith(f"vhdtool: {path}.undo: "), outcome.err)
        self.run_tool("check", path)

    def test_what_cannot_be_opened_is_a_report_with_errors(self):
        path = self.create("a.vhdx", MIB)
        self.damage(path, 64 * KIB)
        self.damage(path, 128 * KIB)
        before = bytes_of(path)
        outcome = self.run_tool("check", path, code=REFUSED)
        self.assertIn("X02", outcome.out)
        repaired = self.run_tool("check", "--repair", path, code=REFUSED)
        self.assertIn("nothing of this can be repaired", repaired.out)
        self.assertIn("a.vhdx.undo", self.run_tool("check", "--undo", path, code=NOT_FOUND).err)
        self.assertEqual(bytes_of(path), before)
        for verb in ("info", "map", "convert"):
            words = [verb, path] + ([self.path("out.raw"), "--to", "raw"] if verb == "convert"
                                    else [])
            self.assertIn("0x", self.run_tool(*words, code=REFUSED).err)
        self.assertFalse(os.path.exists(self.path("out.raw")))

    def test_azure_rules_are_judged_only_when_asked(self):
        path = self.create("a.vhdx", MIB)
        self.run_tool("check", path)
        outcome = self.run_tool("check", "--azure", path, code=None)
        self.assertIn(outcome.code, (DIFFERENT, REFUSED))
        self.assertIn("AZ", outcome.out)


class Map(Case):
    def sample(self):
        path = self.create("a.vhdx", 64 * MIB, "--block-size", "1M")
        self.io(path, "write -P 1 8M 4M", "write -P 1 20M 64K", "zero 8M 1M")
        return path

    def test_extents_cover_the_disk(self):
        path = self.sample()
        answer = self.run_tool("map", path, "--json").json()
        self.assertEqual(answer["files"], [path])
        at = 0
        for extent in answer["extents"]:
            self.assertEqual(extent["offset"], at)
            self.assertIn(extent["kind"], ("data", "zero", "hole"))
            self.assertEqual(extent["host_offset"] is None, extent["kind"] != "data")
            at += extent["length"]
        self.assertEqual(at, answer["virtual_size"])
        content = bytes_of(path)
        data = [e for e in answer["extents"] if e["kind"] == "data"]
        self.assertGreaterEqual(sum(e["length"] for e in data), 3 * MIB + 64 * KIB)
        inside = next(e for e in data if e["offset"] <= 9 * MIB < e["offset"] + e["length"])
        where = inside["host_offset"] + 9 * MIB - inside["offset"]
        self.assertEqual(content[where:where + 4096], b"\x01" * 4096)

    def test_the_table_and_the_totals(self):
        text = self.run_tool("map", self.sample()).out
        self.assertTrue(text.startswith("offset  "))
        self.assertRegex(text, r"(?m)^0x000000000000 +8 MiB  hole$")
        self.assertRegex(text, r"(?m)^0x000000900000 +3 MiB  data  0 +0x[0-9a-f]+")
        self.assertRegex(text, r"(?m)^hole .*stored nowhere")

    def test_the_picture_is_a_picture_and_replaces_only_pictures(self):
        path = self.sample()
        out = self.path("map.svg")
        for _ in range(2):
            self.run_tool("map", path, "--svg", out)
        root = xml.etree.ElementTree.parse(out).getroot()
        self.assertEqual(root.tag, SVG + "svg")
        titles = [t.text for t in root.iter(SVG + "title")]
        self.assertTrue(any("data in " in t for t in titles), titles)
        before = bytes_of(path)
        self.run_tool("map", path, "--svg", path, code=USAGE)
        self.assertEqual(bytes_of(path), before)
        self.run_tool("map", path, "--svg", self.path("no/such/folder.svg"), code=IO)

    def test_the_picture_goes_through_a_pipe_that_is_read(self):
        path = self.sample()
        pipe = self.path("pipe")
        os.mkfifo(pipe)
        outcome = self.run_tool("map", path, "--svg", pipe, code=USAGE)
        self.assertIn("nobody reads", outcome.err)
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as cat:
            while self.run_tool("map", path, "--svg", pipe, code=None).code == USAGE:
                pass  # until cat has opened it
            picture = cat.communicate(timeout=60)[0]
        self.assertEqual(xml.etree.ElementTree.fromstring(picture).tag, SVG + "svg")

    def test_a_picture_is_replaced_as_a_whole_and_nothing_stays_beside_it(self):
        path = self.sample()
        out, link = self.path("map.svg"), self.path("link.svg")
        self.run_tool("map", path, "--svg", out)
        os.symlink("map.svg", link)
        os.link(out, self.path("old.svg"))
        before = bytes_of(out)
        self.io(path, "write -P 1 40M 2M")
        self.run_tool("map", path, "--svg", link)
        self.assertTrue(os.path.islink(link))
        self.assertNotEqual(bytes_of(out), before)
        self.assertEqual(bytes_of(self.path("old.svg")), before)  # not truncated in place
        self.assertEqual(sorted(os.listdir(self.folder)),
                         ["a.vhdx", "link.svg", "map.svg", "old.svg"])
        for other in (self.folder, "/dev/null"):
            self.run_tool("map", path, "--svg", other, code=USAGE)

    def test_layers_of_a_chain_are_told_apart(self):
        base = self.sample()
        child = self.path("child.vhdx")
        self.run_tool("create", child, "--parent", base)
        self.io(child, "write -P 2 9M 1M")
        answer = self.run_tool("map", child, "--json").json()
        self.assertEqual([os.path.realpath(f) for f in answer["files"]],
                         [os.path.realpath(child), os.path.realpath(base)])
        layers = {e["offset"]: e["layer"] for e in answer["extents"] if e["kind"] == "data"}
        self.assertEqual(layers[9 * MIB], 0)
        self.assertEqual(layers[10 * MIB], 1)


class Dump(Case):
    def test_every_structure_is_there(self):
        def names(node):
            yield node["name"]
            for child in node.get("children", ()):
                yield from names(child)

        for name, expected in (("a.vhdx", ("header", "region_table", "metadata", "bat")),
                               ("b.vhd", ("footer", "dynamic_header", "block_allocation_table"))):
            path = self.create(name, 8 * MIB)
            self.io(path, "write 0 512")
            found = " ".join(names(self.run_tool("dump", path, "--json").json()["image"])).lower()
            for word in expected:
                self.assertIn(word, found)
            text = self.run_tool("dump", path).out
            self.assertRegex(text, r"(?m)^0x[0-9a-f]{12}  ")
            self.assertNotRegex(text, r"(?m) $")

    def test_damage_is_marked(self):
        path = self.create("a.vhdx", MIB)
        with open(path, "r+b") as file:
            file.seek(64 * KIB + 100)
            file.write(b"\xff")
        self.assertRegex(self.run_tool("dump", path).out, "<-- ")

    def test_what_is_no_image_is_refused(self):
        path = self.path("a.bin")
        with open(path, "wb") as file:
            file.write(os.urandom(MIB))
        for verb in ("dump", "info", "map"):
            self.assertIn("a.bin", self.run_tool(verb, path, code=REFUSED).err)


if __name__ == "__main__":
    unittest.main()
