#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# walk.py - fails where ARCHITECTURE.md names a function, file or test that is not there.
#
# Every `name()` must be defined in some file of the tree; within the walk of a message, in one of
# the files that the walk names. Every `path/with.suffix` must be a file, every `path/` a folder.

import pathlib
import re
import sys

NAME_LINE = re.compile(r"^[A-Za-z_][\w \*]*?\b([a-z_][a-z_0-9]*)\(", re.MULTILINE)
TOKEN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w/.-]+/[\w.-]+\.(?:c|h|py|def|md)")
TOPS = ["proto", "net", "storage", "broker", "nameserver", "tools", "test"]


def definitions(root):
    """name -> the files that define it (a line at column 0 whose declarator is no prototype)."""
    where = {}
    for top in TOPS:
        for file in (root / top).rglob("*.[ch]"):
            text = file.read_text()
            for match in NAME_LINE.finditer(text):
                rest = text[match.end() : match.end() + 600]
                brace, semicolon = rest.find("{"), rest.find(";")
                if brace >= 0 and (semicolon < 0 or brace < semicolon):
                    where.setdefault(match.group(1), set()).add(file.relative_to(root).as_posix())
    return where


def walk_of(text):
    begin = text.index("## The walk of a message")
    return begin, text.index("\n## ", begin + 1)


def complaints(root):
    text = (root / "ARCHITECTURE.md").read_text()
    where = definitions(root)
    begin, end = walk_of(text)
    named = {name for name in TOKEN.findall(text[begin:end]) if FILE.fullmatch(name)}
    count = 0
    for token in TOKEN.finditer(text):
        line = text.count("\n", 0, token.start()) + 1
        name = token.group(1)
        if FILE.fullmatch(name):
            if not (root / name).is_file():
                yield f"ARCHITECTURE.md:{line}: there is no file {name}"
        elif re.fullmatch(r"[\w/-]+/", name):
            if not (root / name).is_dir():
                yield f"ARCHITECTURE.md:{line}: there is no folder {name}"
        elif re.fullmatch(r"\w+\(\)", name):
            inside = begin < token.start() < end
            count += inside
            homes = where.get(name[:-2], set())
            if not homes:
                yield f"ARCHITECTURE.md:{line}: there is no function {name}"
            elif inside and not homes & named:
                yield f"ARCHITECTURE.md:{line}: {name} is in {', '.join(sorted(homes))}"
    if count < 40:
        yield f"ARCHITECTURE.md: the walk names {count} functions only: the pattern may be broken"


if __name__ == "__main__":
    found = list(complaints(pathlib.Path(__file__).resolve().parent.parent))
    print("\n".join(found))
    sys.exit(1 if found else 0)
