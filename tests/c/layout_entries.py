#!/usr/bin/env python3
"""Writes the entries of layout.c: every structure, member and number of the header.

Usage: layout_entries.py HEADER OUTPUT
"""

import re
import sys


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    lines = []
    for kind, body, name in re.findall(
            r"typedef (struct|enum) \w+ \{(.*?)\} (ovhd_\w+);", text, re.S):
        lines.append(f"SIZE({name});")
        if kind == "enum":
            lines += [f"NUMBER({number});" for number in re.findall(r"\b(OVHD_\w+)", body)]
        else:
            for member in re.findall(r"(\w+)(?:\[\d+\])?;", body):
                lines.append(f"PLACE({name}, {member});")
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
