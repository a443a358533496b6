#!/usr/bin/env python3
"""Fails when a promise or an invariant is shown by no test of this tree (RELIABILITY T24).

Usage: promise_check.py ROOT [FILE]. FILE is tests/promises/promises.txt unless given.
"""

import os
import re
import sys

# Every id there must be a line for; one more id is one more line.
GROUPS = {"D": 10, "X": 19, "L": 10, "V": 8, "C": 7, "S": 2, "R": 1, "Q": 3, "G": 5}
GTEST = re.compile(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", re.M)
CTEST = re.compile(r"\badd_test\(\s*NAME\s+([\w.]+)")
# Functions of CMake that make tests: the name's prefix by what they are called.
MAKERS = {"openvhd_checker_test": "checker.", "openvhd_checker_program_test": "checker.",
          "openvhd_crash_states": "crash.states."}
MAKER = re.compile(r"^\s*(" + "|".join(MAKERS) + r")\((\w+)", re.M)


def expected_ids():
    for group, count in GROUPS.items():
        width = 1 if group == "D" else 2
        for number in range(1, count + 1):
            yield f"{group}{number:0{width}}"


def tests_of(root):
    """The names of all tests: Suite.Name of GoogleTest, and those that CMake files add."""
    names = set()
    for folder, _, files in os.walk(os.path.join(root, "tests")):
        for file in files:
            if not (file.endswith(".cpp") or file == "CMakeLists.txt"):
                continue
            with open(os.path.join(folder, file), encoding="utf-8") as text:
                text = text.read()
            if file.endswith(".cpp"):
                names.update(".".join(pair) for pair in GTEST.findall(text))
            else:
                names.update(CTEST.findall(text))
                names.update(MAKERS[maker] + name for maker, name in MAKER.findall(text))
    return names


def violations(root, lines):
    """Yields what is wrong; lines that say `open` are printed by main()."""
    tests = tests_of(root)
    seen = set()
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        name, rest = words[0], words[1:]
        if name in seen:
            yield f"line {number}: {name} has a line already"
        seen.add(name)
        if rest[:1] == ["when"] and len(rest) == 2:
            if os.path.exists(os.path.join(root, rest[1])):
                yield f"{name}: {rest[1]} is there now, and no test shows the promise"
        elif rest[:1] == ["open"] and len(rest) > 1:
            continue
        elif not rest:
            yield f"{name}: no test shows it"
        else:
            for test in rest:
                if test not in tests:
                    yield f"{name}: there is no test {test}"
    for name in expected_ids():
        if name not in seen:
            yield f"{name}: no line, so no test shows it"
    for name in sorted(seen - set(expected_ids())):
        yield f"{name}: not an id of a promise or an invariant"


def main():
    root = sys.argv[1]
    path = sys.argv[2] if len(sys.argv) > 2 else os.path.join(root, "tests/promises/promises.txt")
    with open(path, encoding="utf-8") as file:
        lines = file.read().splitlines()
    for line in lines:
        if re.match(r"\w+\s+open\b", line):
            print("open:", line)
    found = list(violations(root, lines))
    for text in found:
        print(text)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
