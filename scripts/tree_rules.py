#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""tree_rules.py - the rules of the tree that no compiler checks; each is one function below.

  scripts/tree_rules.py [--root FOLDER] RULE...

Prints a line a complaint, and for `sizes` a report; the exit status is 1 if there was a complaint.
"""

import argparse
import pathlib
import re
import subprocess
import sys

# Who may include whom; the drawing is in ARCHITECTURE.md. The longest prefix of a path wins, so a row
# may also name one file. Rows allow the named places and nothing below or beside them, but for their
# own.
MAY_INCLUDE = {
    "proto/base": set(),
    "proto": {"proto/base", "proto/framer.h", "proto/limits.h"},
    "proto/framer.h": {"proto", "proto/base", "proto/limits.h"},
    "proto/limits.h": {"proto", "proto/base", "proto/framer.h"},
    "net": {"proto/base", "proto/framer.h", "proto/limits.h", "net/reactor.h"},
    "net/reactor.h": {"proto/base", "proto/limits.h"},
    "storage": {"proto", "proto/base", "proto/framer.h", "proto/limits.h", "net/reactor.h"},
    "broker": {
        *("storage", "net", "net/reactor.h"),
        *("proto", "proto/base", "proto/framer.h", "proto/limits.h"),
    },
    "nameserver": {
        *("net", "net/reactor.h"),
        *("proto", "proto/base", "proto/framer.h", "proto/limits.h"),
    },
    "tools": {
        *("tools/client", "net", "net/reactor.h"),
        *("proto", "proto/base", "proto/framer.h", "proto/limits.h"),
    },
    "tools/client": {
        *("net", "net/reactor.h"),
        *("proto", "proto/base", "proto/framer.h", "proto/limits.h"),
    },
    "tools/inspect": {
        *("tools", "tools/client", "storage", "net", "net/reactor.h"),
        *("proto", "proto/base", "proto/framer.h", "proto/limits.h"),
    },
}
# Single files that stand outside of the drawing, and why.
EXCEPTIONS = {
    # The simulated disk lives in the simulated world: one clock, one seed, one queue of what comes next.
    ("storage/disk_simulated.c", "net/simulation.h"),
}
# A foreign header that one file alone may include: the reason why it can be replaced.
ONLY_IN = [
    (re.compile(r"liburing(\.h|/)"), re.compile(r"net/reactor_uring(_\w+)?\.[ch]")),
    (re.compile(r"msgpack(\.h|/)"), re.compile(r"test/.*")),
    (re.compile(r"jemalloc/"), re.compile(r"proto/base/.*\.c")),
    (re.compile(r"(isa-l(\.h|/)|crc\.h)"), re.compile(r"proto/base/crc32c\.c")),
    (re.compile(r"check\.h"), re.compile(r"test/.*")),
]
# Of these foreign headers at most one file is the user.
ONE_USER = ["liburing", "msgpack", "jemalloc"]
TOPS = ["proto", "net", "storage", "broker", "nameserver", "tools"]
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.MULTILINE)

# Headers that are installed beside each other cannot name each other from this tree's root.
INSTALLED_BESIDE = {
    ("tools/client/ternmq_explain.h", "ternmq.h"),
    ("tools/client/ternmq_groups.h", "ternmq.h"),
}
BANNED_NAMES = {"util", "utils", "common", "misc", "helper", "helpers", "manager", "managers"}
# Where an absolute path in the tree may begin: what every Debian has.
KNOWN_ROOTS = {
    *("bin", "boot", "dev", "etc", "lib", "opt", "proc", "run", "sbin", "srv", "sys", "tmp"),
    *("usr", "var"),
}
ABSOLUTE = re.compile(r"""(?:^|(?<=[\s"'`(=:]))/([a-z][a-z0-9_-]*)/[a-z0-9_.-]+""")
UPWARD = re.compile(r"""(?:^|(?<=[\s"'`(=]))((?:\.\./)+)([A-Za-z0-9_./-]*)""")

FILE_LINES_MAX = 900
FUNCTION_LINES_MAX = 120
FILE_LINES_REPORTED = 500
FUNCTION_LINES_REPORTED = 70

# Text files whose own format leaves no room for a comment, or that are somebody else's words.
NO_HEAD = re.compile(r"(^LICENSE$|\.md$|\.json$|\.patch$|^test/fuzz/corpus/|\.gitattributes$)")


class Tree:
    """The tracked files under `root` (all files, where it is no git checkout)."""

    def __init__(self, root):
        self.root = pathlib.Path(root).resolve()
        if (self.root / ".git").exists():
            listed = subprocess.run(
                ["git", "-C", str(self.root), "ls-files", "-z"], capture_output=True, check=True
            )
            names = [name for name in listed.stdout.decode().split("\0") if name]
        else:
            names = [p.relative_to(self.root).as_posix() for p in self.root.rglob("*")]
        self.files = sorted(name for name in names if (self.root / name).is_file())

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8", errors="replace")

    def sources(self):
        return [name for name in self.files if name.endswith((".c", ".h"))]


def layer_of(path, table=None):
    """The row of MAY_INCLUDE that a path belongs to."""
    rows = [row for row in (table or MAY_INCLUDE) if (path + "/").startswith(row + "/")]
    return max(rows, key=len, default="test")


def rule_includes(tree):
    """Includes follow the arrows, are written from the root, and foreign headers have their one user."""
    users = {name: set() for name in ONE_USER}
    for path in tree.sources():
        for mark, target in INCLUDE.findall(tree.text(path)):
            if mark == "<":
                for header, allowed in ONLY_IN:
                    if header.match(target) and not allowed.fullmatch(path):
                        yield f"{path}: may not include <{target}>: {allowed.pattern} may"
                for name in ONE_USER:
                    if target.startswith(name):
                        users[name].add(path)
                continue
            if (path, target) in INSTALLED_BESIDE:
                continue
            if target.startswith(".") or not (tree.root / target).exists():
                if not target.endswith(".inc") and path.split("/")[0] in TOPS:
                    yield f'{path}: "{target}" is not a path from the root'
                continue
            if path.split("/")[0] not in TOPS:
                continue
            if (path, target) in EXCEPTIONS:
                continue
            own, other = layer_of(path), layer_of(target)
            below = layer_of(path, [row for row in MAY_INCLUDE if not row.endswith(".h")])
            if other != own and other != below and other not in MAY_INCLUDE[own]:
                yield f"{path}: {own} may not include {target}"
            if other == "test":
                yield f"{path}: nothing outside test/ includes {target}"
    for name, files in users.items():
        if len(files) > 1:
            yield f"<{name}..> is included by {len(files)} files, one may: {', '.join(sorted(files))}"


def rule_heads(tree):
    """The first line is the license, then comes a comment that says what the file is."""
    for path in tree.files:
        data = (tree.root / path).read_bytes()
        if NO_HEAD.search(path) or b"\0" in data[:4096] or not data:
            continue
        lines = data.decode(errors="replace").splitlines()
        if lines and lines[0].startswith("#!"):
            lines = lines[1:]
        if path.endswith((".c", ".h", ".def", ".inc")):
            if not lines or lines[0] != "/* SPDX-License-Identifier: Apache-2.0 */":
                yield f"{path}: the first line is not the SPDX comment"
            # A header's guard may stand before its comment.
            guard = ("#ifndef ", "#define ")
            rest = [line for line in lines[1:8] if line.strip() and not line.startswith(guard)]
            if not rest or not rest[0].startswith("/*"):
                yield f"{path}: no head comment that says what it is"
        elif not lines or "SPDX-License-Identifier: Apache-2.0" not in lines[0]:
            yield f"{path}: the first line is not the SPDX comment"
        elif len(lines) < 3 or not re.match(r'\s*(#|//|;|"""|/?\*|<!--|--)', "".join(lines[1:2]) or ""):
            yield f"{path}: no head comment that says what it is"


def functions_of(text):
    """(name, first line, lines) of each function, as clang-format leaves them: braces in column 0."""
    lines = text.splitlines()
    start = None
    for number, line in enumerate(lines):
        if line == "{" and start is None and number > 0:
            head = number - 1
            while head > 0 and lines[head].startswith((" ", "\t")):
                head -= 1
            name = re.search(r"([A-Za-z_0-9]+)\s*\(", " ".join(lines[head:number]))
            start = (name[1] if name else "?", head)
        elif line == "}" and start is not None:
            yield start[0], start[1] + 1, number - start[1] + 1
            start = None


def rule_sizes(tree):
    """Files and functions that grow too long; prints the medians and the long ones."""
    files, functions = [], []
    for path in tree.sources():
        text = tree.text(path)
        files.append((text.count("\n"), path))
        if path.endswith(".c"):
            functions += [(n, f"{path}:{at} {name}") for name, at, n in functions_of(text)]
    for what, found, shown, limit in (
        ("file", files, FILE_LINES_REPORTED, FILE_LINES_MAX),
        ("function", functions, FUNCTION_LINES_REPORTED, FUNCTION_LINES_MAX),
    ):
        found.sort(reverse=True)
        if found:
            middle = found[len(found) // 2][0]
            tail = found[len(found) // 20][0]
            print(f"  {len(found)} {what}s, lines: median {middle}, p95 {tail}, most {found[0][0]}")
        for lines, name in found:
            if lines > limit:
                yield f"{name}: a {what} of {lines} lines, at most {limit} are allowed"
            elif lines > shown:
                print(f"  long {what}: {name}, {lines} lines")


def rule_names(tree):
    """No file or folder is called by a word that says nothing."""
    for path in tree.files:
        for part in re.split(r"[/._-]", path):
            if part in BANNED_NAMES:
                yield f"{path}: '{part}' says nothing about what is in it"
    top = {path.split("/")[0] for path in tree.files if "/" in path}
    for name in sorted(top - set(TOPS) - {"test", "scripts"}):
        if not name.startswith("."):
            yield f"{name}/: no new folder at the root"


def rule_paths(tree):
    """Nothing in the tree points out of it."""
    for path in tree.files:
        data = (tree.root / path).read_bytes()
        if path == "LICENSE" or path.startswith("test/fuzz/corpus/") or b"\0" in data[:4096]:
            continue
        folder = (tree.root / path).parent
        for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
            for top in ABSOLUTE.findall(line):
                if top not in KNOWN_ROOTS:
                    yield f"{path}:{number}: an absolute path into /{top}/"
            for up, rest in UPWARD.findall(line):
                rest = rest.rstrip(".")
                target = (folder / up / rest).resolve()
                if not target.is_relative_to(tree.root):
                    yield f"{path}:{number}: {up}{rest} is outside of the tree"


def rule_readmes(tree):
    """Each folder has a README.md: what it is for, and what it must not know."""
    folders = {parent for path in tree.files for parent in pathlib.PurePath(path).parents}
    for folder in sorted(folders):
        name = folder.as_posix()
        hidden = any(part.startswith(".") for part in folder.parts)
        if hidden or name.startswith("test/fuzz/corpus") or name.startswith("test/unit/"):
            continue
        if not (tree.root / folder / "README.md").exists():
            yield f"{name}/: has no README.md"


def rule_listed(tree):
    """Each .c file stands in a meson.build, so that a dead file is seen."""
    builds = {path: tree.text(path) for path in tree.files if path.endswith("meson.build")}
    for path in tree.files:
        if not path.endswith(".c"):
            continue
        name = path.rpartition("/")[2]
        stem = re.sub(r"^(test|fuzz|bench)_", "", name[:-2])
        parents = [str(parent) for parent in pathlib.PurePath(path).parents]
        near = [text for b, text in builds.items() if b.rpartition("/")[0] in [*parents, ""]]
        if not any(name in text or f"'{stem}'" in text or f"'{stem}:" in text for text in near):
            yield f"{path}: no meson.build names it"


RULES = {
    name.removeprefix("rule_"): value
    for name, value in list(globals().items())
    if name.startswith("rule_")
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=pathlib.Path(__file__).parent.parent)
    parser.add_argument("rules", nargs="+", choices=sorted(RULES), metavar="RULE")
    arguments = parser.parse_args()

    tree = Tree(arguments.root)
    complaints = [line for rule in arguments.rules for line in RULES[rule](tree)]
    for line in complaints:
        print(f"  {line}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
