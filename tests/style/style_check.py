#!/usr/bin/env python3
"""Checks rules of this source tree that no compiler checks.

Usage: style_check.py ROOT RULE. Prints one line per violation; exits 1 when there is any.
"""

import os
import re
import subprocess
import sys

CODE = (".cpp", ".hpp", ".c", ".h", ".py", ".sh", ".cmake", "CMakeLists.txt")
TEXT = CODE + (".md", ".json", ".map", ".in", ".yml", ".yaml")
CPP = (".cpp", ".hpp")
MAX_LINES = 600
MAX_COLUMNS = 100

# Paths of one machine, and numbers that mean something in one tracker only. Put together here so
# that this file does not contain what it looks for.
FORBIDDEN = re.compile("|".join((
    r"(?<!\w)/" + r"(work|root|home)/", r"\b[Ii]ssue" + r" #?[0-9]")))

# Rooms by who may see whom: a room's files include its own headers and those of rooms listed.
ROOMS = {
    "base": (),
    "io": ("base",),
    "vhdx": ("base", "io"),
    "vhd": ("base", "io"),
    "image": ("base", "io", "vhdx", "vhd"),
    "c": ("base",),
    "snapshot": ("base", "io", "image"),
}
# The rooms of hypervisor/, the same way; of lib/ they see base.
VMM_ROOMS = {
    "memory": (),
    "kvm": ("memory",),
    "chipset": ("memory",),
    "firmware": ("memory",),
    "devices": ("memory", "chipset"),
    "machine": ("memory", "kvm", "chipset", "firmware", "devices"),
    "control": ("memory", "kvm", "chipset", "firmware", "devices", "machine"),
}
# What only lib/io may include, and the file that owns a descriptor: the host file seam.
SYSTEM = re.compile(
    r"^\s*#\s*include\s*<(fcntl\.h|unistd\.h|liburing\.h|sys/(?!types\.h|uio\.h).*)>")
# What public headers include: of the standard library, POSIX and ours.
CPP_INCLUDE = r"<(openvhd/[a-z0-9_]+\.hpp|[a-z_]+|sys/uio\.h)>"
C_INCLUDE = r"<(openvhd/[a-z0-9_]+\.h|[a-z]+\.h|sys/uio\.h)>"
SEAM = ("lib/io/", "lib/base/fd.hpp")


def files_of(root):
    """Paths relative to root: what git tracks, or all files where there is no git."""
    try:
        listed = subprocess.run(["git", "-C", root, "ls-files", "-z"], check=True,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        paths = [path for path in listed.decode().split("\0") if path]
    except (OSError, subprocess.CalledProcessError):
        paths = []
        for folder, folders, names in os.walk(root):
            folders[:] = [f for f in folders if f not in ("build", ".git", "__pycache__")]
            paths += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return sorted(path for path in paths if os.path.isfile(os.path.join(root, path)))


def lines_of(root, path):
    with open(os.path.join(root, path), encoding="utf-8", newline="") as file:
        return file.read().split("\n")


def check_text(root, paths):
    """Sizes, blanks and words of every text file."""
    for path in paths:
        if not path.endswith(TEXT):
            continue
        lines = lines_of(root, path)
        if lines[-1]:
            yield path, len(lines), "no newline at the end"
        if len(lines) - 1 > MAX_LINES:
            yield path, len(lines) - 1, f"more than {MAX_LINES} lines"
        for number, line in enumerate(lines, 1):
            if FORBIDDEN.search(line):
                yield path, number, "a path of one machine, or a number of one tracker"
            if path.endswith(CODE):
                if len(line) > MAX_COLUMNS:
                    yield path, number, f"more than {MAX_COLUMNS} columns"
                if line != line.rstrip() or "\t" in line:
                    yield path, number, "a tab, a carriage return or a blank at the end"


def check_headers(root, paths):
    """Public headers are installed, guarded, and need nobody else's headers or macros."""
    listed = re.findall(r"\$\{PROJECT_SOURCE_DIR\}/(include/openvhd/\S+\.hp?p?)",
                        "\n".join(lines_of(root, "lib/CMakeLists.txt")))
    public = [path for path in paths if path.startswith("include/")]
    for path in public:
        if path not in listed:
            yield "lib/CMakeLists.txt", 1, f"{path} is not in the file set: it is not installed"
        for number, line in enumerate(lines_of(root, path), 1):
            if re.match(r"\s*#\s*define\b", line):
                yield path, number, "a macro in a public header"
            include = re.match(r"\s*#\s*include\s*(\S+)", line)
            if include and not re.fullmatch(C_INCLUDE if path.endswith(".h") else CPP_INCLUDE,
                                            include[1]):
                yield path, number, f"{include[1]} in a public header"
    for path in paths:
        if path.endswith((".hpp", ".h")) and not any(
                line == "#pragma once" for line in lines_of(root, path)):
            yield path, 1, "no #pragma once"


def check_vmm_rooms(root, paths):
    """The same for hypervisor/."""
    for path in paths:
        parts = path.split("/")
        if not path.endswith(CPP) or parts[0] != "hypervisor" or len(parts) < 3:
            continue
        visible = ("base", parts[1]) + VMM_ROOMS.get(parts[1], ())
        for number, line in enumerate(lines_of(root, path), 1):
            include = re.match(r'\s*#\s*include\s*"([^"/]+)/', line)
            if include and include[1] not in visible:
                yield path, number, f"{'/'.join(parts[:2])} must not know {include[1]}"


def check_rooms(root, paths):
    """A room includes the public headers, its own, and those of the rooms below it."""
    yield from check_vmm_rooms(root, paths)
    for path in paths:
        parts = path.split("/")
        if not path.endswith(CPP) or parts[0] not in ("lib", "tools"):
            continue
        if parts[0] == "lib" and (len(parts) < 3 or parts[1] not in ROOMS):
            continue
        visible = (parts[1],) + ROOMS[parts[1]] if parts[0] == "lib" else ()
        for number, line in enumerate(lines_of(root, path), 1):
            include = re.match(r'\s*#\s*include\s*"([^"/]+)/', line)
            if include and include[1] in ROOMS and include[1] not in visible:
                yield path, number, f"{'/'.join(parts[:2])} must not know {include[1]}"


def check_seam(root, paths):
    """System calls on files are made in lib/io alone, so that tests can stand in for the host."""
    for path in paths:
        if path.startswith("lib/") and path.endswith(CPP) and not path.startswith(SEAM):
            for number, line in enumerate(lines_of(root, path), 1):
                if SYSTEM.match(line):
                    yield path, number, "a system header outside lib/io"


RULES = {"text": check_text, "headers": check_headers, "rooms": check_rooms, "seam": check_seam}


def main():
    root, rule = sys.argv[1], sys.argv[2]
    paths = files_of(root)
    if not any(path.endswith(CPP) for path in paths):
        sys.exit(f"{root}: no source files found")
    violations = list(RULES[rule](root, paths))
    for path, number, text in violations:
        print(f"{path}:{number}: {text}")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
