"""The command line: see `vhdcheck.py --help` and README.md."""
import argparse
import json
import sys

from . import catalogue, contents, transition
from .chain import DEFAULT_DEPTH, Options, open_chain
from .report import (EXIT_UNREADABLE, EXIT_VIOLATIONS, VERDICTS, exit_code)
from .source import FileSource, ReadError

DEFAULT_HASH_LIMIT = 256 << 30
DEFAULT_EXTENTS = 65536

EPILOG = """exit codes: 0 clean (notes at most); 1 warnings; 2 violations; 3 a file cannot be read,
or wrong usage; 4 a defect of the checker itself. With several files the worst counts."""


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(EXIT_UNREADABLE, "%s: %s\n" % (self.prog, message))


def _size(text):
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    factor = 1 << units.get(text[-1:].upper(), 0)
    value = int(text[:-1] if factor > 1 else text, 0) * factor
    if value < 0:
        raise ValueError("negative size")
    return value


def _range(text):
    offset, length = text.split(":")
    return _size(offset), _size(length)


def parser():
    result = _Parser(prog="vhdcheck.py", epilog=EPILOG, description="Checks VHD and VHDX images "
                     "against their invariants and rebuilds what a guest would read.")
    add = result.add_argument
    add("files", nargs="*", metavar="FILE")
    add("--json", action="store_true", help="print one JSON document")
    add("--json-lines", action="store_true",
        help="print one line of JSON per FILE as soon as it is judged")
    add("--files-from", metavar="LIST", help="also check the files named in LIST, one per line "
        "(- for standard input, read as it comes)")
    add("--quiet", action="store_true", help="print no notes")
    add("--list", action="store_true", help="list the invariants and how they are judged")
    add("--chain", dest="chain", action="store_true", default=True,
        help="check parents too (default)")
    add("--no-chain", dest="chain", action="store_false", help="look at the files alone")
    add("--parent-dir", action="append", default=[], metavar="DIR",
        help="also look here for parents, by the last component of any recorded path")
    add("--raw-parent", action="store_true",
        help="let a VHD whose parent id is zero stand on a raw file")
    add("--allow-smaller-child", action="store_true", help="accept a parent larger than its child")
    add("--max-depth", type=int, default=DEFAULT_DEPTH, metavar="N", help="parents at most (%d)"
        % DEFAULT_DEPTH)
    add("--size-rule", choices=("auto", "current", "chs"), default="auto",
        help="what gives a VHD its size (auto: by creator)")
    add("--before", metavar="OLD", help="an earlier state of FILE: judges X19, L07, L08, C07")
    add("--sha256", action="store_true", help="hash the whole disk (up to --hash-limit)")
    add("--hash-limit", type=_size, default=DEFAULT_HASH_LIMIT, metavar="SIZE",
        help="largest disk that --sha256 hashes (256G)")
    add("--first", type=_size, metavar="SIZE", help="hash the first SIZE bytes of the disk")
    add("--range", action="append", type=_range, default=[], metavar="OFF:LEN",
        help="hash this range of the disk; may be repeated")
    add("--sparse-digest", action="store_true",
        help="a digest of the disk that costs only its data (README.md)")
    add("--extents", action="store_true", help="list runs of data with their hashes")
    add("--contents", metavar="OUT",
        help="write the disk as a sparse raw file, which must not exist yet")
    return result


def check_file(path, options, arguments):
    """(entry for the JSON document, exit code) of one file."""
    try:
        source = FileSource(path)
    except (OSError, ReadError) as error:
        return {"file": path, "verdict": VERDICTS[EXIT_UNREADABLE], "error": str(error),
                "findings": []}, EXIT_UNREADABLE
    chain = old = None
    try:
        chain = open_chain(source, options)
        if arguments.before:
            old = open_chain(FileSource(arguments.before), options)
            transition.check(old, chain, chain.reports[0])
        code = exit_code(chain.reports)
        return _entry(path, chain, code, arguments), code
    except (OSError, ReadError) as error:
        return {"file": path, "verdict": VERDICTS[EXIT_UNREADABLE], "error": str(error),
                "findings": []}, EXIT_UNREADABLE
    finally:
        for each in (chain, old):
            if each:
                each.close()


def _entry(path, chain, code, arguments):
    entry = {"file": path, "verdict": VERDICTS[code],
             "findings": [f.as_dict() for report in chain.reports for f in report.findings],
             "suppressed": {r.file: r.suppressed for r in chain.reports if r.suppressed},
             "facts": chain.reports[0].facts,
             "parents": [{"file": r.file, "facts": r.facts} for r in chain.reports[1:]]}
    wanted = _contents(chain, arguments)
    if wanted:
        entry["contents"] = wanted
    return entry


def _contents(chain, arguments):
    asked = (arguments.sha256 or arguments.first is not None or arguments.range
             or arguments.sparse_digest or arguments.extents or arguments.contents)
    if not asked:
        return None
    if not chain.complete:
        return {"error": "the disk cannot be rebuilt: see the findings"}
    layers, size = chain.layers, chain.layers[0].size
    result = {"size": size}
    if arguments.sha256 and size > arguments.hash_limit:
        result["error"] = "disk larger than --hash-limit: use --first, --range, --sparse-digest"
    elif arguments.sha256:
        result["sha256"] = contents.sha256(layers, size)
    if arguments.first is not None:
        result["first_bytes"] = min(arguments.first, size)
        result["sha256_first"] = contents.sha256(layers, result["first_bytes"])
    for offset, length in arguments.range:
        length = max(0, min(length, size - offset))
        result.setdefault("ranges", []).append(
            {"offset": offset, "length": length,
             "sha256": contents.range_sha256(layers, offset, length)})
    if arguments.sparse_digest:
        result["sparse_digest"] = contents.sparse_digest(layers, size)
    if arguments.extents:
        result["extents"], result["extents_complete"] = contents.data_extents(
            layers, size, DEFAULT_EXTENTS)
    if arguments.contents:
        contents.write_raw(layers, size, arguments.contents)
        result["written"] = arguments.contents
    return result


def _print_text(entry, quiet):
    for finding in entry["findings"]:
        if quiet and finding["severity"] == "note":
            continue
        place = "" if finding["offset"] is None else " at 0x%x" % finding["offset"]
        print("%s: %s: %s: %s%s: %s" % (finding["file"], finding["severity"], finding["id"],
                                        finding["structure"], place, finding["text"]))
    for key, value in (entry.get("contents") or {}).items():
        print("%s: %s: %s" % (entry["file"], key, value))
    print("%s: %s%s" % (entry["file"], entry["verdict"],
                        ": " + entry["error"] if "error" in entry else ""))


def _paths(arguments):
    """Files of the command line, then those of --files-from, which may be a live pipe."""
    yield from arguments.files
    if arguments.files_from == "-":
        for line in iter(sys.stdin.readline, ""):
            yield line.rstrip("\n")
    elif arguments.files_from:
        with open(arguments.files_from, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                yield line.rstrip("\n")


def main(argv=None):
    """Runs the command line; returns the exit code."""
    command = parser()
    arguments = command.parse_args(argv)
    if arguments.list:
        print("\n".join(catalogue.listing()))
        return 0
    several = len(arguments.files) > 1 or arguments.files_from
    if not arguments.files and not arguments.files_from:
        command.error("no FILE")
    if several and (arguments.contents or arguments.before):
        command.error("--contents and --before take one FILE")
    options = Options(arguments.chain, arguments.parent_dir, arguments.max_depth,
                      arguments.raw_parent, arguments.allow_smaller_child, arguments.size_rule)
    entries, worst = [], 0
    try:
        for path in _paths(arguments):
            entry, code = check_file(path, options, arguments)
            worst = max(worst, code)
            if arguments.json_lines:
                print(json.dumps(entry), flush=True)
            elif arguments.json:
                entries.append(entry)
            else:
                _print_text(entry, arguments.quiet)
    except BrokenPipeError:
        raise
    except OSError as error:
        command.error(str(error))
    if arguments.json and not arguments.json_lines:
        print(json.dumps({"tool": "vhdcheck", "version": 1, "verdict": VERDICTS[worst],
                          "images": entries}, indent=1))
    return worst


assert EXIT_VIOLATIONS < EXIT_UNREADABLE  # the worst of several files is the greatest code
