"""Random damage: the checker neither fails, nor hangs, nor serves what it called damaged.

OPENVHD_CHECKER_MUTANTS sets how many mutants each base gets; OPENVHD_CHECKER_SEED where to begin.
"""
import os
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from imagebuild import mutate  # noqa: E402
from imagecheck import contents  # noqa: E402
from imagecheck.report import EXIT_VIOLATIONS, exit_code  # noqa: E402
from test_checker import check  # noqa: E402

MUTANTS = int(os.environ.get("OPENVHD_CHECKER_MUTANTS", "120"))
FIRST_SEED = int(os.environ.get("OPENVHD_CHECKER_SEED", "0"))
# Far above what any of these images takes, far below a hang.
LIMIT_SECONDS = 30


class Mutants(unittest.TestCase):
    """Every exception is a defect of the checker."""

    def test_mutants(self):
        refused = served = 0
        for number, make in enumerate(mutate.BASES):
            mutator = mutate.Mutator(make)
            for seed in range(FIRST_SEED, FIRST_SEED + MUTANTS):
                with self.subTest(base=number, seed=seed):
                    case = mutator.mutant(seed)
                    start = time.monotonic()
                    ok = self.judge(case)
                    self.assertLess(time.monotonic() - start, LIMIT_SECONDS)
                    served += ok
                    refused += not ok
        # A mutator that always kills, or never bites, tests little.
        self.assertGreater(refused, MUTANTS)
        self.assertGreater(served, MUTANTS)

    def judge(self, case):
        chain = check(case)
        violated = exit_code(chain.reports) == EXIT_VIOLATIONS
        self.assertEqual(chain.complete, not violated)
        if violated:
            return False
        size = chain.layers[0].size
        space = sum(layer.source.size for layer in chain.layers)
        units = sum(1 for _ in contents.units(chain.layers, size))
        self.assertLessEqual(units * contents.UNIT, 2 * space + contents.UNIT)
        return True


if __name__ == "__main__":
    unittest.main()
