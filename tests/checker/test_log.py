"""Replay of random logs equals a model that applies the operations one by one to flat bytes."""
import os
import random
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from imagebuild import log_writer  # noqa: E402
from imagebuild.vhdx_writer import MIB, Vhdx, fixed_guid  # noqa: E402
from imagecheck import vhdx_header, vhdx_log  # noqa: E402
from imagecheck.report import FileReport  # noqa: E402

ROUNDS = int(os.environ.get("OPENVHD_CHECKER_LOGS", "60"))
SECTOR = 4096
RING = MIB // SECTOR
OURS, FOREIGN = fixed_guid(300), fixed_guid(301)
FIRST_TARGET = 4 * MIB
FILE_END = 6 * MIB


class RandomLog:
    """A file with a random log, and what must lie in it after replay."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.image = Vhdx("random.vhdx")
        self.image.log_guid = OURS
        self.image.build()
        self.file = self.image.file
        for page in range(FIRST_TARGET, FILE_END, SECTOR):
            if self.random.random() < 0.7:
                self.file.write(page, self.page())
        self.file.truncate(FILE_END)
        self.position = self.random.randrange(RING) * SECTOR
        self.sequence = self.random.choice((1, 2, 1000, (1 << 32) - 2, (1 << 32) + 5, 1 << 40))
        self.sequence += 100
        self.used = 0
        self.run = []

    def page(self):
        return self.random.randbytes(8) * (SECTOR // 8 - 1) + self.random.randbytes(8)

    def operations(self, end):
        """Data pages and zero ranges, overlapping at will; sometimes none, sometimes over 126."""
        kind = self.random.random()
        count = 0 if kind < 0.2 else self.random.randrange(1, 12)
        if kind > 0.93:
            count = self.random.randrange(120, 270)
        result = []
        for _ in range(count):
            at = self.random.randrange(FIRST_TARGET // SECTOR, end // SECTOR) * SECTOR
            # Many descriptors are mostly zeroes, or their data would not fit the ring.
            if self.random.random() < (0.6 if count < 20 else 0.1):
                result.append(("data", at, self.page()))
            else:
                span = self.random.choice((1, 1, 2, 7, 64, 300))
                length = min(span * SECTOR, end - at)
                result.append(("zero", at, length))
        return result

    def put(self, position, guid, sequence, tail, operations, end, **wrong):
        raw = log_writer.encode(guid, sequence, tail, operations, FILE_END, end, **wrong)
        if self.used + len(raw) > (RING - 4) * SECTOR:
            return None
        self.used += len(raw)
        return log_writer.put(self.image, position, raw)

    def stale(self):
        """An older, valid, complete sequence of ours that must lose against the newer one."""
        start = self.position
        for number in range(self.random.randrange(1, 4)):
            after = self.put(self.position, OURS, self.sequence - 90 + number, start,
                             self.operations(FILE_END), FILE_END)
            if after is None:
                return
            self.position = after

    def foreign(self):
        """An entry of another log, with a greater number."""
        after = self.put(self.position, FOREIGN, self.sequence + 1000, self.position,
                         self.operations(FILE_END), FILE_END)
        self.position = self.position if after is None else after

    def active(self):
        """The sequence that counts; its tail may lie behind its first entry."""
        places, tail, end = [], 0, FILE_END
        for _ in range(self.random.randrange(1, 9)):
            places.append(self.position)
            tail = self.random.randrange(tail, len(places)) if self.random.random() < 0.5 else tail
            end = max(end, FILE_END + self.random.randrange(3) * MIB)
            operations = self.operations(end)
            after = self.put(self.position, OURS, self.sequence, places[tail], operations, end)
            if after is None:
                places.pop()
                break
            self.run.append((operations, tail, end))
            self.position = after
            self.sequence += 1

    def torn(self):
        """The next entry of the sequence, half written."""
        raw = bytearray(log_writer.encode(OURS, self.sequence, self.position,
                                          [("data", FIRST_TARGET, self.page())], FILE_END,
                                          FILE_END))
        if self.used + len(raw) > (RING - 4) * SECTOR:
            return
        kind = self.random.randrange(3)
        if kind == 0:
            raw[self.random.randrange(4, len(raw))] ^= 1 << self.random.randrange(8)
        elif kind == 1:
            raw[SECTOR:] = bytes(SECTOR)
        else:
            raw[-4:] = (self.sequence - 1 & 0xFFFFFFFF).to_bytes(4, "little")
            raw = bytearray(log_writer.checksummed(bytes(raw)))
        self.used += len(raw)
        log_writer.put(self.image, self.position, bytes(raw))

    def build(self):
        if self.random.random() < 0.4:
            self.stale()
        if self.random.random() < 0.3:
            self.foreign()
        while not self.run:
            self.active()
        if self.random.random() < 0.5:
            self.torn()

    def model(self):
        """The file after replay, by applying operations from the head's tail on."""
        _, tail, end = self.run[-1]
        flat = bytearray(self.file.read(0, self.file.size))
        flat.extend(bytes(max(0, end - len(flat))))
        for operations, _, _ in self.run[tail:]:
            for operation in operations:
                data = operation[2] if operation[0] == "data" else bytes(operation[2])
                flat[operation[1]:operation[1] + len(data)] = data
        return bytes(flat)


def replay(file):
    """(view or None, report)."""
    report = FileReport(file.name)
    header = vhdx_header.check_headers(file, report)
    return vhdx_log.replay(file, header, report)[0], report


class RandomLogs(unittest.TestCase):
    """Wrapped, several sequences, foreign and torn entries, zero descriptors, growing files."""

    def test_replay_equals_the_model(self):
        for seed in range(ROUNDS):
            with self.subTest(seed=seed):
                log = RandomLog(seed)
                log.build()
                view, report = replay(log.file)
                self.assertEqual(report.rules("error"), set())
                wanted = log.model()
                self.assertEqual(view.size, len(wanted))
                self.assertEqual(view.read(0, view.size), wanted)
                self.check_pieces(view, wanted, log.random)

    def check_pieces(self, view, wanted, rng):
        """Unaligned reads, and the promise that nothing but zeros lies before next_data."""
        for _ in range(20):
            offset = rng.randrange(len(wanted))
            length = rng.randrange(1, min(3 * SECTOR, len(wanted) - offset) + 1)
            self.assertEqual(view.read(offset, length), wanted[offset:offset + length])
            data = view.next_data(offset, len(wanted))
            self.assertFalse(any(wanted[offset:data]))

    def test_replaying_twice_changes_nothing(self):
        """L07: the replayed bytes with the same log in front of them replay to themselves."""
        for seed in range(0, ROUNDS, 10):
            with self.subTest(seed=seed):
                log = RandomLog(seed)
                log.build()
                wanted = log.model()
                log.file.write(0, wanted)
                self.assertEqual(replay(log.file)[0].read(0, len(wanted)), wanted)

    def test_interrupted_replay_is_completed(self):
        """L07: any part of the targets already written changes nothing about the result."""
        for seed in range(0, ROUNDS, 10):
            with self.subTest(seed=seed):
                log = RandomLog(seed)
                log.build()
                wanted = log.model()
                for page in range(FIRST_TARGET, len(wanted), SECTOR):
                    if log.random.random() < 0.5:
                        log.file.write(page, wanted[page:page + SECTOR])
                view = replay(log.file)[0]
                self.assertEqual(view.read(0, len(wanted)), wanted)


class HostileLogs(unittest.TestCase):
    """Logs made to cost time."""

    def test_every_sector_an_entry_is_scanned_in_linear_work(self):
        image = Vhdx("many.vhdx")
        image.log_guid = OURS
        image.build()
        size = image.file.size
        for number in range(RING):
            # Tails in a circle: no entry's tail lies in a run that ends in it.
            log_writer.put(image, number * SECTOR, log_writer.encode(
                OURS, 2 * number + 1, (number + 1) % RING * SECTOR, [], size, size))
        view, report = replay(image.file)
        self.assertIsNone(view)
        self.assertEqual(report.rules("error"), {"L01", "L03"})

    def test_overlapping_entries_exhaust_the_budget_and_not_the_time(self):
        image = Vhdx("overlap.vhdx")
        image.log_guid = OURS
        image.build()
        size = image.file.size
        for number in range(RING):
            raw = log_writer.encode(OURS, number + 1, number * SECTOR, [], size, size, length=MIB)
            log_writer.put(image, number * SECTOR, raw)
        fed = []
        original = vhdx_log.Crc32c.update

        def counting(crc, data):
            fed.append(len(data))
            return original(crc, data)

        vhdx_log.Crc32c.update = counting
        try:
            view, report = replay(image.file)
        finally:
            vhdx_log.Crc32c.update = original
        self.assertIsNone(view)
        self.assertIn("L01", report.rules("error"))
        self.assertLessEqual(sum(fed), 4 * MIB)

    def test_a_sequence_that_fills_the_whole_ring_is_replayed(self):
        image = Vhdx("full.vhdx")
        image.log_guid = OURS
        image.build()
        size = image.file.size
        for number in range(RING):
            log_writer.put(image, number * SECTOR, log_writer.encode(
                OURS, number + 1, 0, [("zero", 3 * MIB + 512 * 1024, SECTOR)], size, size))
        view, report = replay(image.file)
        self.assertEqual(report.rules("error"), set())
        self.assertEqual(report.facts["log"]["replay_entries"], RING)
        self.assertEqual(view.zero_ranges(), [(3 * MIB + 512 * 1024, 3 * MIB + 516 * 1024)])


if __name__ == "__main__":
    unittest.main()
