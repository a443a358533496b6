#!/usr/bin/env python3
"""All violating images, as a table; run as a program it writes them out for other tools.

    python3 violations.py OUT        # OUT/<name>/<files>, and OUT/manifest.json
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from imagebuild import cases_chain, cases_log, cases_vhd, cases_vhdx  # noqa: E402

VIOLATIONS = cases_vhdx.ALL + cases_log.ALL + cases_vhd.ALL + cases_chain.ALL

# Every id that must have a violating image, or a reason here why no file can show it.
IDS = (["X%02d" % n for n in range(1, 20)] + ["L%02d" % n for n in range(1, 11)]
       + ["V%02d" % n for n in range(1, 9)] + ["C%02d" % n for n in range(1, 8)])
NO_IMAGE = {
    "L09": "what was reused before its release was durable looks like any other block; where it "
           "gives two owners, X07 and X14 report it",
    "C03": "a matter of locks while files are open",
    "C04": "an order of renames; every state of it is an image that the other rules judge",
    "C05": "compares the contents of a chain over many states; nothing in one file breaks it",
    "C06": "needs to know every leaf that is alive",
}


def write_all(folder):
    """Writes every case to `folder`; returns the manifest."""
    manifest = []
    for violation in VIOLATIONS:
        case = violation.build()
        place = os.path.join(folder, violation.name)
        os.makedirs(place, exist_ok=True)
        for name, file in case.files.items():
            file.save(os.path.join(place, name))
        if case.before:
            case.before.save(os.path.join(place, "before-" + case.target.name))
        manifest.append({"name": violation.name, "file": case.target.name,
                         "before": "before-" + case.target.name if case.before else None,
                         "ids": sorted(violation.ids), "severity": violation.severity,
                         "options": violation.options})
    with open(os.path.join(folder, "manifest.json"), "w", encoding="utf-8") as out:
        json.dump(manifest, out, indent=1)
    return manifest


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("%d images" % len(write_all(sys.argv[1])))
