# SPDX-License-Identifier: Apache-2.0
"""test_python_agreement.py - Python's msgpack and our cursor and writer, against each other, both ways.

What Python packs is read by the cursor and written again by the writer (the program `rewrite`, named
by the first argument); Python must read the same values back, and find the same bytes that it packs.
"""

import random
import struct
import subprocess
import sys
import unittest

import msgpack

import tap

REWRITE = sys.argv.pop(1) if __name__ == "__main__" else ""
SEED = 20261121


def rewrite(data):
    """(exit status, output) of the program."""
    done = subprocess.run([REWRITE], input=data, capture_output=True, check=False)
    return done.returncode, done.stdout


def number(source):
    """An integer whose width is as random as its value; below 2^53 either way."""
    value = source.getrandbits(source.randint(1, 53))
    return -value if source.random() < 0.3 else value


def content(source):
    length = source.randint(0, 20)
    if source.random() < 0.05:
        length = source.choice([31, 32, 255, 256, 65535, 65536])
    text = "".join(source.choice("abcxyz 0189ü€𝄞") for _ in range(min(length, 40)))
    return text + "x" * max(0, length - len(text.encode()))


def value(source, depth=4):
    kind = source.randint(0, 7 if depth else 5)
    if kind == 0:
        return source.choice([None, True, False])
    if kind in (1, 2):
        return number(source)
    if kind == 3:
        return float(number(source))
    if kind == 4:
        return content(source)
    if kind == 5:
        return content(source).encode()
    count = source.choice([0, 1, 3, 15, 16, 40])
    if kind == 6:
        return [value(source, depth - 2) if depth > 1 else number(source) for _ in range(count)]
    return {f"key{i}": value(source, depth - 2) if depth > 1 else number(source) for i in range(count)}


def integral(item):
    """The value as our wire means it: floats without a fraction are integers."""
    if isinstance(item, float):
        return int(item)
    if isinstance(item, list):
        return [integral(element) for element in item]
    if isinstance(item, dict):
        return {key: integral(element) for key, element in item.items()}
    return item


class Agreement(unittest.TestCase):
    def setUp(self):
        self.source = random.Random(SEED)

    def test_what_python_packs_is_read_and_written_to_the_same_values(self):
        values = [value(self.source) for _ in range(3000)]
        status, output = rewrite(b"".join(msgpack.packb(item) for item in values))
        self.assertEqual(status, 0)
        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=1 << 28)
        unpacker.feed(output)
        for item in values:
            self.assertEqual(unpacker.unpack(), integral(item))
        with self.assertRaises(msgpack.OutOfData):
            unpacker.unpack()

    def test_we_write_the_same_bytes_as_python_for_the_same_values(self):
        packed = b"".join(msgpack.packb(integral(value(self.source))) for _ in range(3000))
        status, output = rewrite(packed)
        self.assertEqual(status, 0)
        self.assertEqual(output, packed)

    def test_numbers_of_every_width_mean_the_same(self):
        forms = [("B", 0xCC, 8), (">H", 0xCD, 16), (">I", 0xCE, 32), (">Q", 0xCF, 53)]
        signed = [("b", 0xD0, 7), (">h", 0xD1, 15), (">i", 0xD2, 31), (">q", 0xD3, 53)]
        data, expected = b"", []
        for form, mark, bits in forms + signed:
            for _ in range(50):
                item = self.source.getrandbits(bits)
                if mark >= 0xD0 and self.source.random() < 0.5:
                    item = -item
                data += bytes([mark]) + struct.pack(form, item)
                expected.append(item)
        status, output = rewrite(data)
        self.assertEqual(status, 0)
        self.assertEqual(output, b"".join(msgpack.packb(item) for item in expected))

    def test_what_our_wire_does_not_have_is_refused(self):
        for data in (
            msgpack.packb(msgpack.ExtType(5, b"x")),
            msgpack.packb(msgpack.Timestamp(1)),
            msgpack.packb(1.5),
            msgpack.packb(float("nan")),
            msgpack.packb(float(1 << 53)),
            msgpack.packb(-(1 << 53)),
            msgpack.packb(1 << 53),
            b"\xc1",
        ):
            self.assertEqual(rewrite(data), (1, b""), data)

    def test_no_beginning_of_a_value_is_a_value(self):
        whole = msgpack.packb([1, "text", b"bytes", {"key": [None, 300, -5]}])
        for cut in range(1, len(whole)):
            self.assertEqual(rewrite(whole[:cut])[0], 1, cut)
        self.assertEqual(rewrite(whole)[0], 0)


if __name__ == "__main__":
    tap.main(__name__)
