#!/usr/bin/env python3
"""The binary interface of the C functions is what abi/ says: programs that are there go on working.

Usage: abi_test.py NM LIBRARY LAYOUT HEADER ABI. LAYOUT is the program that prints sizes, places and
numbers. With --record the two files in ABI are written anew, which a new version of the interface
needs and nothing else does.
"""

import difflib
import os
import re
import subprocess
import sys


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                          timeout=60).stdout


def exported(nm, library):
    """The C functions that a library exports, each with its version."""
    lines = output_of(nm, "-D", "--defined-only", library).splitlines()
    found = (re.search(r" T (ovhd_\w+)@@(\w+(?:\.\d+)*)$", line) for line in lines)
    return sorted(f"{match[1]} {match[2]}" for match in found if match)


def declared(header):
    """The functions that the header declares."""
    with open(header, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return sorted(set(re.findall(r"\b(ovhd_\w+)\(", text)))


def compare(path, lines, record):
    if record:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in lines)
    with open(path, encoding="utf-8") as file:
        recorded = file.read().splitlines()
    changes = list(difflib.unified_diff(recorded, lines, "recorded", "now", lineterm=""))
    print("\n".join(changes) or f"{os.path.basename(path)}: {len(lines)} as recorded")
    return not changes


def main():
    words = [word for word in sys.argv[1:] if word != "--record"]
    record = len(words) != len(sys.argv) - 1
    nm, library, layout, header, folder = words
    symbols = exported(nm, library)
    good = compare(os.path.join(folder, "symbols.txt"), symbols, record)
    good &= compare(os.path.join(folder, "layout.txt"), output_of(layout).splitlines(), record)
    names = [symbol.split()[0] for symbol in symbols]
    for name in set(names) ^ set(declared(header)):
        print(f"{name}: declared and not exported, or exported and not declared")
        good = False
    if len(names) < 30:
        print(f"only {len(names)} functions are exported")
        good = False
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
