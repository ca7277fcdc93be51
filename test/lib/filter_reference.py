# SPDX-License-Identifier: Apache-2.0
"""filter_reference.py - what a filter means, once more: random conditions as trees, their text, their truth.

Knows proto/README.md's section "Filters" and nothing of proto/filter.c: no text is parsed here. A tree is
made from a seed, written as one of the many texts that mean it, and evaluated on a message itself. Truth is
True, False or None (UNKNOWN).
"""

import fractions
import operator
import re

KEYWORDS = {"AND", "OR", "NOT", "BETWEEN", "IN", "LIKE", "ESCAPE", "IS", "NULL", "TRUE", "FALSE", "TAGS"}
PLAIN_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.]*")
NUMBER = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d+))?", re.ASCII)
RELATIONS = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

NAMES = ["a", "b", "weight", "d.e", "_x$1", "odd name", "in", 'quo"te', "tags", "TAGS", "über"]
TAGS = ["paid", "sent", "eu-west", "über", "a/b"]
NUMBERS = ["0", "1", "-1", "2.5", "+2.50", "1e3", "1000", "-0", ".5", "5.", "0.1", "9007199254740993"]
ODD_NUMBERS = [
    *("1e300", "-1e300", "1e-300", "0.10000000000000000000000001", "9007199254740992", "1" * 30),
    *(" 1", "1 ", "0x1", "1e", "--1", "1,5", "NaN", "1" * 65, "٣"),
]
TEXTS = ["", "Rome", "rome", "Rom", "it's", "a%b_c", "über", "x" * 300, "true", "FALSE", "TRUE ", "%", "\n"]
PATTERNS = ["%", "_", "", "R%", "%e", "%o%", "R__e", "_ber", "%_%_%", "a!%b!_c", "%!!", "Rome", "x%x", "____"]


def number_of(text):
    """The number that a text is, exactly, or None."""
    found = NUMBER.fullmatch(text)
    if found is None or len(text.encode()) > 64:
        return None
    sign, digits, exponent = found.groups()
    value = fractions.Fraction(digits.rstrip(".") if "." in digits else digits)
    # Beyond this no literal is that large or that small; and 10 ** 99999999 takes a while.
    exponent = max(-2000, min(2000, int(exponent or 0)))
    return (-1 if sign == "-" else 1) * value * fractions.Fraction(10) ** exponent


def read_as(kind, text):
    """A property's text as a value of a kind, None where it is none."""
    if text is None or kind == "text":
        return None if text is None else text.encode()
    if kind == "number":
        return number_of(text)
    return {"true": True, "false": False}.get(text.lower() if text.isascii() else "")


def find(message, name):
    """The text of a property, or of the tag where `name` is None; None where it is not there."""
    return message["tag"] if name is None else message["properties"].get(name)


def value_of(message, value, kind):
    what, content = value
    return content if what == "literal" else read_as(kind, find(message, content))


def negate(truth):
    return None if truth is None else not truth


def conjunction(truths):
    return False if False in truths else None if None in truths else True


def compare(relation, left, right):
    return None if left is None or right is None else RELATIONS[relation](left, right)


def is_like(text, pattern, escape):
    parts, at = [], 0
    while at < len(pattern):
        if escape and pattern[at] == escape:
            at += 1
            parts.append(re.escape(pattern[at]))
        else:
            parts.append({"%": ".*", "_": "."}.get(pattern[at], re.escape(pattern[at])))
        at += 1
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def truth(tree, message):
    """The truth of a tree for a message {tag: text or None, properties: {name: text}}."""
    what, *parts = tree
    if what in ("and", "or"):
        truths = [truth(part, message) for part in parts]
        return conjunction(truths) if what == "and" else negate(conjunction([negate(t) for t in truths]))
    if what == "not":
        return negate(truth(parts[0], message))
    if what == "constant":
        return parts[0]
    if what == "alone":
        return read_as("boolean", find(message, parts[0][1]))
    if what == "null":
        return find(message, parts[0][1]) is None
    kind, left, *rest = parts
    value = value_of(message, left, kind)
    if what == "compare":
        return compare(rest[0], value, value_of(message, rest[1], kind))
    if what == "between":
        least, most = (value_of(message, one, kind) for one in rest)
        return conjunction([compare(">=", value, least), compare("<=", value, most)])
    if what == "in":
        return None if value is None else any(value == one[1] for one in rest[0])
    return None if value is None else is_like(value.decode(), *rest)


# ------------------------------------------------------------------ making


def random_name(source):
    return ("property", None if source.random() < 0.15 else source.choice(NAMES))


def random_literal(source, kind):
    if kind == "number":
        return ("literal", number_of(source.choice(NUMBERS)))
    if kind == "boolean":
        return ("literal", source.random() < 0.5)
    return ("literal", source.choice(TEXTS + NUMBERS[:4]).encode())


def random_condition(source):
    what = source.choice(["compare"] * 4 + ["between", "in", "in", "like", "like", "null", "alone", "constant"])
    left = random_name(source)
    if what in ("null", "alone"):
        return (what, left)
    if what == "constant":
        return (what, source.random() < 0.5)
    if what == "like":
        pattern = source.choice(PATTERNS)
        return (what, "text", left, pattern, "!" if "!" in pattern else "")
    kind = source.choice(["number", "number", "text", "boolean"])
    if what == "compare":
        relation = source.choice(["=", "<>"] if kind == "boolean" else list(RELATIONS))
        right = random_literal(source, kind)
        if source.random() < 0.15:
            left, right = right, left
        elif source.random() < 0.1:
            kind, right = "text", random_name(source)
        return (what, kind, left, relation if kind != "boolean" or relation in ("=", "<>") else "=", right)
    if what == "between":
        kind = "number" if kind == "boolean" else kind
        most = random_name(source) if source.random() < 0.2 else random_literal(source, kind)
        return (what, kind, left, random_literal(source, kind), most)
    return (what, kind, left, [random_literal(source, kind) for _ in range(source.randint(1, 5))])


def random_tree(source, depth=3):
    if depth == 0 or source.random() < 0.3:
        return random_condition(source)
    what = source.choice(["and", "or", "not"])
    if what == "not":
        return (what, random_tree(source, depth - 1))
    return (what, *(random_tree(source, depth - 1) for _ in range(source.randint(2, 3))))


def random_message(source):
    values = NUMBERS + ODD_NUMBERS + TEXTS
    names = source.sample(NAMES, source.randint(0, len(NAMES)))
    return {
        "tag": source.choice([None, "", *TAGS, *TAGS]),
        "properties": {name: source.choice(values) for name in names},
    }


# ----------------------------------------------------------------- writing


def word(source, text):
    """A keyword, of any case."""
    return "".join(source.choice([letter.upper(), letter.lower()]) for letter in text)


def blank(source):
    return source.choice([" ", " ", "  ", "\t", "\n"])


def write_number(source, value):
    texts = [text for text in NUMBERS if number_of(text) == value]
    return source.choice(texts)


def write_value(source, value):
    what, content = value
    if what == "literal":
        if isinstance(content, bool):
            return word(source, "TRUE" if content else "FALSE")
        if isinstance(content, bytes):
            return "'" + content.decode().replace("'", "''") + "'"
        return write_number(source, content)
    if content is None:
        return "TAGS"
    if PLAIN_NAME.fullmatch(content) and content.upper() not in KEYWORDS and source.random() < 0.8:
        return content
    if content == "tags" and source.random() < 0.8:
        return content  # only TAGS is the tag
    return '"' + content.replace('"', '""') + '"'


def write_condition(source, tree, negated):
    what, *parts = tree
    no = word(source, "NOT") + blank(source) if negated else ""
    if what == "constant":
        return word(source, "TRUE" if parts[0] else "FALSE")
    if what == "alone":
        return write_value(source, parts[0])
    if what == "null":
        return f"{write_value(source, parts[0])} {word(source, 'IS')}{blank(source)}{no}{word(source, 'NULL')}"
    _, left, *rest = parts
    left = write_value(source, left)
    if what == "compare":
        gap = blank(source) if source.random() < 0.7 else ""
        return f"{left}{gap}{rest[0]}{gap}{write_value(source, rest[1])}"
    if what == "between":
        least, most = (write_value(source, one) for one in rest)
        return f"{left} {no}{word(source, 'BETWEEN')} {least} {word(source, 'AND')} {most}"
    if what == "in":
        values = f",{blank(source)}".join(write_value(source, one) for one in rest[0])
        return f"{left} {no}{word(source, 'IN')}{source.choice(['', ' '])}({values})"
    pattern, escape = rest
    tail = f" {word(source, 'ESCAPE')} '{escape}'" if escape else ""
    return f"{left} {no}{word(source, 'LIKE')} '{pattern}'{tail}"


def write(source, tree, strength=0):
    """A text of a tree; in parentheses where what is around it is stronger, and sometimes anyway."""
    own = {"or": 1, "and": 2, "not": 3}.get(tree[0], 4)
    if tree[0] in ("and", "or"):
        joint = f"{blank(source)}{word(source, tree[0])}{blank(source)}"
        text = joint.join(write(source, part, own) for part in tree[1:])
    elif tree[0] == "not" and tree[1][0] in ("between", "in", "like", "null") and source.random() < 0.5:
        text = write_condition(source, tree[1], True)
    elif tree[0] == "not":
        text = f"{word(source, 'NOT')} {write(source, tree[1], own)}"
    else:
        text = write_condition(source, tree, False)
    return f"({text})" if own < strength or source.random() < 0.1 else text


def text_of(source, tree):
    """A text of a tree that is SQL: one word alone would be a tag."""
    text = write(source, tree)
    return f"({text})" if tree[0] in ("alone", "constant") else text
