#!/usr/bin/env python3
"""bench on small images: what it says adds up, and it destroys nothing unasked. Not how fast."""

import json
import os
import unittest

from program import Case, KIB, MIB, NOT_FOUND, READ_ONLY, USAGE, bytes_of


class Bench(Case):
    def bench(self, path, *options, **more):
        return self.run_tool("bench", path, "--json", *options, **more).json()

    def filled(self, name, size=16 * MIB, *options):
        """An image of which every block is stored, and nothing compresses."""
        path = self.create(name, size, *options)
        report = self.bench(path, "--mode", "write", "--range", "disk", "--block", "1M",
                            "--sequential", "--depth", "4", "--count", size // MIB, "--destroy")
        self.assertEqual(report["queue"]["writes"]["bytes"], size)
        return path

    def adds_up(self, report):
        queue = report["queue"]
        kinds = [queue[kind] for kind in ("reads", "writes", "trims", "flushes")]
        self.assertEqual(sum(kind["requests"] for kind in kinds),
                         queue["mapped"] + queue["handed_over"])
        self.assertEqual(sum(kind["failed"] for kind in kinds), 0)
        self.assertEqual(sum(kind["requests"] for kind in kinds[:3]), report["requests"])
        self.assertGreater(report["seconds"], 0)
        self.assertAlmostEqual(report["requests_per_second"],
                               report["requests"] / report["seconds"], places=3)
        latency = list(report["latency_ns"].values())
        self.assertEqual(latency, sorted(latency))
        self.assertGreater(latency[0], 0)

    def test_reads_are_counted_one_by_one_and_change_nothing(self):
        for name in ("a.vhdx", "b.vhd"):
            with self.subTest(name):
                path = self.filled(name)
                before = bytes_of(path)
                for count, depth, queues in ((1, 1, 1), (1001, 32, 1), (1000, 7, 3), (2, 64, 4)):
                    report = self.bench(path, "--count", count, "--depth", depth, "--queues",
                                        queues, "--block", "8K")
                    self.adds_up(report)
                    self.assertEqual(report["requests"], count)
                    self.assertEqual(report["queue"]["reads"],
                                     {"requests": count, "bytes": count * 8 * KIB, "failed": 0})
                    self.assertEqual(report["range_bytes"], 16 * MIB)
                    self.assertEqual(report["image"]["allocated_blocks"], 0)
                    self.assertFalse(report["exhausted"])
                self.assertEqual(bytes_of(path), before)

    def test_time_ends_it_too(self):
        report = self.bench(self.filled("a.vhdx"), "--time", "1")
        self.adds_up(report)
        self.assertGreater(report["seconds"], 0.9)
        self.assertGreater(report["requests"], 32)

    def test_reads_go_where_something_is_stored(self):
        path = self.create("a.vhdx", 64 * MIB, "--block-size", "1M")
        self.io(path, "write -P 1 8M 2M", "write -P 1 20M 1M")
        self.assertEqual(self.bench(path, "--count", 10)["range_bytes"], 3 * MIB)
        self.assertEqual(self.bench(path, "--count", 10, "--range", "disk")["range_bytes"],
                         64 * MIB)

    def test_an_empty_disk_is_told_of(self):
        path = self.create("a.vhdx", 64 * MIB)
        self.assertIn("nothing is stored", self.run_tool("bench", path, code=USAGE).err)
        self.assertIn("nothing is stored", self.run_tool(
            "bench", path, "--mode", "trim", "--destroy", code=USAGE).err)
        self.assertIn("nothing to allocate", self.run_tool(
            "bench", self.filled("b.vhdx"), "--mode", "alloc", "--destroy", code=USAGE).err)

    def test_what_destroys_must_be_asked_for(self):
        path = self.filled("a.vhdx")
        before = bytes_of(path)
        for mode in ("write", "alloc", "trim"):
            outcome = self.run_tool("bench", path, "--mode", mode, "--count", 1, code=USAGE)
            self.assertIn("--destroy", outcome.err)
        outcome = self.run_tool("bench", path, "--mode", "write", "--raw", "--destroy", "--count",
                                1, code=USAGE)
        self.assertIn("is an image", outcome.err)
        self.assertEqual(bytes_of(path), before)

    def test_writes_change_the_disk_and_leave_it_clean(self):
        for name in ("a.vhdx", "b.vhd"):
            with self.subTest(name):
                path = self.filled(name)
                before = self.raw_of(path)
                report = self.bench(path, "--mode", "write", "--count", 500, "--flush-every", 50,
                                    "--seed", 3, "--destroy")
                self.adds_up(report)
                self.assertEqual(report["queue"]["flushes"]["requests"], 10)
                self.assertEqual(report["image"]["allocated_blocks"], 0)
                self.run_tool("check", path)
                self.assertNotEqual(self.raw_of(path), before)

    def test_durable_writes_are_as_good_as_flushed(self):
        path = self.filled("a.vhdx")
        report = self.bench(path, "--mode", "write", "--count", 20, "--durable", "--destroy")
        self.adds_up(report)
        self.assertTrue(report["durable"])
        self.run_tool("check", path)

    def test_alloc_takes_one_new_block_for_each_request(self):
        for name, options in (("a.vhdx", ("--block-size", "1M")), ("b.vhd", ())):
            for order in ((), ("--sequential",)):
                with self.subTest(f"{name} {order}"):
                    path = self.create(name, 64 * MIB, "--overwrite", *options)
                    blocks = 64 if name == "a.vhdx" else 32
                    report = self.bench(path, "--mode", "alloc", "--count", 10, "--flush-every",
                                        1, "--depth", 1, "--destroy", *order)
                    self.adds_up(report)
                    self.assertEqual(report["queue"]["flushes"]["requests"], 10)
                    self.assertEqual(report["image"]["allocated_blocks"], 10)
                    self.assertGreaterEqual(
                        report["image"]["syncs"] + report["image"]["durable_writes"], 10)
                    report = self.bench(path, "--mode", "alloc", "--queues", 2, "--destroy",
                                        *order)
                    self.adds_up(report)
                    self.assertTrue(report["exhausted"])
                    self.assertEqual(report["requests"], blocks - 10)
                    self.assertEqual(report["image"]["allocated_blocks"], blocks - 10)
                    self.run_tool("check", path)
                    counts = self.run_tool("info", path, "--blocks", "--json").json()
                    stored = counts["layers"][0]["blocks"]
                    self.assertEqual(stored["fully_present"] + stored["partially_present"], blocks)

    def test_trim_gives_blocks_back_once_each(self):
        path = self.filled("a.vhdx", 16 * MIB, "--block-size", "1M")
        report = self.bench(path, "--mode", "trim", "--count", 5, "--destroy")
        self.adds_up(report)
        self.assertEqual(report["block"], MIB)
        self.assertEqual(report["queue"]["trims"]["bytes"], 5 * MIB)
        report = self.bench(path, "--mode", "trim", "--destroy")
        self.assertTrue(report["exhausted"])
        self.assertEqual(report["requests"], 11)
        self.run_tool("check", path)
        self.assertEqual(self.raw_of(path), bytes(16 * MIB))

    def test_a_child_allocates_over_its_parent(self):
        base = self.filled("base.vhdx", 16 * MIB)
        child = self.path("child.vhdx")
        self.run_tool("create", child, "--parent", base)
        before = bytes_of(base)
        self.adds_up(self.bench(child, "--count", 100))
        report = self.bench(child, "--mode", "alloc", "--destroy")
        self.assertEqual(report["image"]["allocated_blocks"], 8)
        self.assertEqual(bytes_of(base), before)
        self.run_tool("check", child, "--chain")

    def test_raw_is_the_file_itself(self):
        path = self.filled("a.vhdx")
        report = self.bench(path, "--raw", "--count", 100)
        self.adds_up(report)
        self.assertEqual((report["format"], report["type"]), ("raw", "fixed"))
        plain = self.path("plain")
        with open(plain, "wb") as file:
            file.write(b"\x01" * MIB)
        report = self.bench(plain, "--raw", "--mode", "write", "--block", "512", "--count", 100,
                            "--destroy", "--cached")
        self.adds_up(report)
        self.assertFalse(report["direct"])
        self.assertEqual(os.path.getsize(plain), MIB)
        self.run_tool("bench", plain, "--raw", "--mode", "alloc", "--destroy", code=USAGE)

    def test_text_has_the_figures(self):
        text = self.run_tool("bench", self.filled("a.vhdx"), "--count", 100).out
        for word in ("requests ", "latency ", "served by ", "per request ", "image ", "metadata "):
            self.assertIn(f"\n  {word}", text)
        self.assertIn("VHDX dynamic, 16 MiB: read, 4 KiB, depth 32, 1 queue", text)

    def test_wrong_arguments_are_named(self):
        path = self.filled("a.vhdx")
        for words in (("--depth", 0), ("--depth", 1025), ("--queues", 0), ("--queues", 65),
                      ("--block", 100), ("--block", 4097), ("--block", "2G"), ("--count", 0),
                      ("--time", 0), ("--flush-every", 1), ("--durable",), ("--mode", "copy"),
                      ("--mode", "write", "--flush-every", 0, "--destroy"),
                      ("--mode", "trim", "--block", "4K", "--destroy"),
                      ("--mode", "alloc", "--range", "disk", "--destroy"),
                      ("--qos", "iops=1,min=2"), ("--qos", "speed=1"), ("--qos", "weight=0"),
                      ("--qos", "iops=1", "--qos", "iops=1"), ("--qos-host", "in-flight=0"),
                      ("--qos-file", self.path("gone.json")),
                      ("--qos-file", path, "--qos", "iops=1"),
                      ("--raw", "--format", "vhdx"), ("--block", "1G", "--depth", 2)):
            with self.subTest(words):
                self.run_tool("bench", path, *words, code=USAGE)
        self.run_tool("bench", self.path("gone.vhdx"), code=NOT_FOUND)

    def test_several_images_share_a_host_by_reservation_and_weight(self):
        paths = [self.filled("a.vhdx"), self.filled("b.vhd")]
        report = self.run_tool("bench", *paths, "--json", "--count", 300, "--qos",
                               "min=100,weight=200", "--qos", "iops=100000,bps=1G", "--qos-host",
                               "in-flight=4").json()
        self.assertEqual([disk["file"] for disk in report["disks"]], paths)
        for disk in report["disks"]:
            self.adds_up(disk)
            self.assertEqual(disk["requests"], 300)
            self.assertEqual(disk["qos"]["operations"], 300)
            self.assertEqual(disk["qos"]["bytes"], 300 * 4 * KIB)
            self.assertEqual(disk["qos"]["held"], 0)
        self.assertEqual(report["disks"][0]["qos"]["min_iops"], 100)
        self.assertEqual(report["disks"][1]["qos"]["iops"], 100000)
        self.assertEqual(report["qos_host"]["operations"], 600)
        self.assertEqual(report["qos_host"]["in_flight"], 4)
        text = self.run_tool("bench", *paths, "--count", 10, "--qos", "weight=1").out
        self.assertEqual(text.count("\n  qos  "), 2)
        report = self.run_tool("bench", *paths, "--json", "--count", 10).json()
        self.assertIsNone(report["qos_host"])
        self.assertIsNone(report["disks"][0]["qos"])

    def test_a_limit_holds_over_all_images_of_a_policy(self):
        paths = [self.filled("a.vhdx"), self.filled("b.vhdx")]
        report = self.run_tool("bench", *paths, "--json", "--count", 100, "--qos",
                               "iops=400,iops-burst=1").json()
        # 200 operations at 400 a second: the clock cannot say less, however busy the machine is.
        self.assertGreater(max(disk["seconds"] for disk in report["disks"]), 0.45)
        self.assertGreater(sum(disk["qos"]["throttled"] for disk in report["disks"]), 100)

    def test_a_policy_file_says_who_is_under_what(self):
        paths = [self.filled("a.vhdx"), self.filled("b.vhdx")]
        plan = {"schema": 1, "host": {"in_flight": 8},
                "policies": {"gold": {"sharing": "dedicated", "min_iops": 50},
                             "rest": {"weight": 10}},
                "disks": [{"file": paths[1], "policy": "gold"},
                          {"file": paths[0], "policy": "rest", "weight": 7}]}
        file = self.path("plan.json")

        def write(content):
            with open(file, "w", encoding="utf-8") as out:
                out.write(content)
        write(json.dumps(plan))
        report = self.run_tool("bench", *paths, "--json", "--count", 50, "--qos-file", file).json()
        first, second = (disk["qos"] for disk in report["disks"])
        self.assertEqual((first["policy"], first["disk_weight"]), ("rest", 7))
        self.assertEqual((second["policy"], second["sharing"]), ("gold", "dedicated"))
        for wrong, words in (("{", "is no JSON at byte 2"),
                             (json.dumps({**plan, "hosts": 1}), "hosts: there is no such field"),
                             (json.dumps({**plan, "disks": []}), "disks: there is no '")):
            write(wrong)
            err = self.run_tool("bench", *paths, "--qos-file", file, code=USAGE).err
            self.assertIn(f"--qos-file: {file}: {words}", err)

    @unittest.skipIf(os.geteuid() == 0, "root may write everything")
    def test_a_file_that_cannot_be_written_is_told_of(self):
        path = self.filled("a.vhdx")
        os.chmod(path, 0o444)
        self.run_tool("bench", path, "--mode", "write", "--destroy", code=READ_ONLY)


if __name__ == "__main__":
    unittest.main()
