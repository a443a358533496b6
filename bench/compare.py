#!/usr/bin/env python3
"""Runs contenders over the same work in interleaved rounds and prints tables of medians.

Called by compare.sh. What the rows mean is in docs/benchmarks.md.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import sys

from suites import convert, doors, merge, qos, queue
from suites.common import first_line

SUITES = {
    "queue": (queue.PARTS, queue.Queue),
    "convert": (convert.PARTS, convert.Convert),
    "doors": (doors.PARTS, doors.Doors),
    "merge": (merge.PARTS, merge.Merge),
    "qos": (qos.PARTS, qos.Qos),
}


def parse():
    every_part = [part for parts, _ in SUITES.values() for part in parts]
    parser = argparse.ArgumentParser()
    parser.add_argument("workdir")
    parser.add_argument("--vhdtool", required=True)
    parser.add_argument("--tools", required=True)
    parser.add_argument("--suite", default=",".join(SUITES))
    parser.add_argument("--only", default=",".join(every_part))
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.workdir = os.path.abspath(options.workdir)
    options.suites = options.suite.split(",")
    options.parts = options.only.split(",")
    if not set(options.suites) <= set(SUITES):
        parser.error(f"--suite takes {', '.join(SUITES)}")
    if not set(options.parts) <= set(every_part):
        parser.error(f"--only takes {', '.join(every_part)}")
    if options.rounds is None:
        options.rounds = 2 if options.quick else 5
    if options.rounds < 1:
        parser.error("--rounds is 1 at least")
    if os.listdir(options.workdir):
        parser.error(f"{options.workdir} is not empty")
    return options


def empty(folder):
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            os.unlink(path)
        elif not os.path.ismount(path):
            shutil.rmtree(path)


def main():
    options = parse()
    # Stopped from outside, it still unmounts and removes what it made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    machine = {"kernel": platform.release(), "processors": os.cpu_count(),
               "qemu": first_line(["qemu-img", "--version"]),
               "fio": first_line(["fio", "--version"])}
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    if options.quick:
        print("quick: small files and short runs show that everything works, not how fast it is")
    answer = {"machine": machine, "quick": options.quick, "suites": {}}
    try:
        for name in options.suites:
            parts, suite = SUITES[name]
            wanted = [part for part in parts if part in options.parts]
            if wanted:
                answer["suites"][name] = suite(options).run(wanted)
    finally:
        empty(options.workdir)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(answer, file, indent=1)


if __name__ == "__main__":
    main()
