# SPDX-License-Identifier: Apache-2.0
"""./scripts/bench without measuring: what it makes of figures, its gate, its exit status."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest

import tap

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test" / "bench"))

import gate  # noqa: E402
import measured  # noqa: E402
import rows_beside  # noqa: E402
import tables  # noqa: E402

REFERENCE_LINE = (
    "RES case in 1000 out 900 inMB 1.0 outMB 0.9 calls 10 bcpu 0.250 lcpu 0.3 bcore 0.9 lcore 0.8 idle 0.1 "
    "steal 0.0 ack 1 2 3 4 e2e 5 6 7 8 ok"
)


def rate_round(reference, product):
    return {
        "reference": {"rate": reference, "cpu": 0.3},
        "epoll": {"rate": product, "cpu": 0.6, "own_rate": 5000, "own_cpu": 0.1},
    }


def result(beside, alone=None, groups=None):
    return {
        "date": "2026-01-02",
        "machine": "a machine",
        "default_shards": 1,
        "seconds": 2,
        "load_average": 0.5,
        "beside": beside,
        "alone": alone or {},
        "groups": groups or {},
    }


class BenchScript(unittest.TestCase):
    def script(self, *arguments):
        return subprocess.run(
            [str(ROOT / "scripts" / "bench"), *arguments], capture_output=True, check=False, timeout=60
        )

    def shown(self, *results):
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for number, one in enumerate(results):
                files.append(str(pathlib.Path(folder, str(number))))
                pathlib.Path(files[-1]).write_text(json.dumps(one))
            done = self.script("--markdown", "--from", *files)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout.decode()

    def test_the_rows_of_all_tables_are_named(self):
        names = [line.split()[0] for line in self.script("--list").stdout.decode().splitlines()]
        for name in ("C256", "FE", "G10000d", "TAILCOLD", "KILL", "QUEUES", "GROUP1", "GROUPIDLE"):
            self.assertIn(name, names)

    def test_wrong_usage_is_told_before_anything_is_measured(self):
        for arguments in (["--only", "C257"], ["--gate"], ["--rounds", "0"], ["--io", "select"]):
            done = self.script(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(b"bench:", done.stderr)

    def test_a_ratio_is_the_median_of_the_rounds_and_not_the_ratio_of_medians(self):
        rounds = [rate_round(100, 50), rate_round(200, 140), rate_round(1000, 900)]
        text = self.shown(result({"C256": rounds[:1]}), result({"C256": rounds[1:]}))
        self.assertIn("0.70 (0.50 to 0.90)", text)
        self.assertIn("2.00 (2.00 to 2.00)", text)  # processor time
        self.assertIn("**no**", text)  # it is more than 1.7 times
        self.assertIn("5.00 k/s", text)

    def test_without_a_reference_ratios_are_not_measured(self):
        text = self.shown(result({"E": [{"epoll": {"own_rate": 5000, "own_cpu": 0.1}}]}))
        self.assertEqual(text.count("not measured"), 4)
        self.assertIn("5.00 k/s", text)

    def test_what_is_reached_is_said_by_nearly_all_rounds_or_undecided(self):
        self.assertEqual(tables.verdict([True, True, False, True, True]), "yes")
        self.assertEqual(tables.verdict([False, False, True, False, False]), "no")
        self.assertEqual(tables.verdict([True, True, False]), "undecided")
        self.assertEqual(tables.verdict([False]), "no")
        self.assertEqual(tables.verdict([]), tables.NOT_MEASURED)

    def test_a_latency_reaches_by_being_low(self):
        def latency(p50):
            return {"reference": {"p50": 100, "p99": 300}, "epoll": {"p50": p50, "p99": 600}}

        self.assertIn("| yes |", self.shown(result({"G10000": [latency(139)]})))
        self.assertIn("| **no** |", self.shown(result({"G10000": [latency(141)]})))

    def test_a_row_alone_has_its_reach_beside_it(self):
        figures = {"ratio": 0.79, "dd_mb_s": 1000, "mb_s": 790, "disk_share": 1.0}
        figures |= {"ratio_sendfile": 0.9, "sendfile_mb_s": 880}
        text = self.shown(result({}, {"COLD": [{"epoll": figures}]}))
        self.assertIn("| at least 0.80 | **no** |", text)
        text = self.shown(result({}, {"COLD": [{"epoll": figures | {"ratio": 0.81}}]}))
        self.assertIn("| at least 0.80 | yes |", text)

    def test_a_row_of_groups_has_its_reach_beside_it(self):
        text = self.shown(result({}, groups={"GROUPKEYS": [{"epoll": {"ratio": 0.89, "none": 9000.0}}]}))
        self.assertIn("from 9000/s | at least 0.90 | **no** |", text)
        text = self.shown(result({}, groups={"GROUPKEYS": [{"epoll": {"ratio": 0.91, "none": 9000.0}}]}))
        self.assertIn("| at least 0.90 | yes |", text)

    def test_the_gate_holds_within_the_noise_alone(self):
        kept = json.loads(gate.FILE.read_text())
        self.assertEqual(sorted(kept), sorted(gate.ROWS))

        def measured_at(part):
            rounds = {}
            for name, row in kept.items():
                latency = rows_beside.BY_NAME[name].kind == "latency"
                off = part * row["noise"] * (1 if latency else -1)
                figure = "p50" if latency else "rate"
                rounds[name] = [
                    {"reference": {figure: 1000}, "epoll": {figure: 1000 * (row["ratio"] + off)}}
                ]
            return [holds for *_, holds in gate.judge(rounds)]

        self.assertEqual(measured_at(0.9), [True] * len(kept))
        self.assertEqual(measured_at(1.1), [False] * len(kept))
        self.assertEqual([holds for *_, holds in gate.judge({})], [False] * len(kept))

    def test_the_reference_load_s_line_is_read(self):
        figures = measured.read_figures(REFERENCE_LINE)
        self.assertEqual((figures["in"], figures["out"], figures["bcpu"]), (1000, 900, 0.25))
        self.assertAlmostEqual(figures["others"], max(0, os.cpu_count() * 0.95 - 1.7))
        self.assertEqual((figures["ack_max"], figures["e2e_p50"], figures["e2e_p99"]), (4, 5, 6))

    def test_a_disturbed_run_is_repeated_and_the_least_disturbed_stands(self):
        def tried(patience, *others):
            context = types.SimpleNamespace(patience=patience, say=lambda text: None)
            runs = iter([{"others": share} for share in others])
            return rows_beside.patiently(context, lambda: next(runs))["others"], len(list(runs))

        self.assertEqual(tried(2, 0.1, 0.0), (0.1, 1))
        self.assertEqual(tried(2, 0.9, 0.1, 0.0), (0.1, 1))
        self.assertEqual(tried(2, 0.9, 0.5, 0.7), (0.5, 0))
        self.assertEqual(tried(0, 0.9, 0.0), (0.9, 1))

    def test_a_table_goes_to_its_place_in_a_page(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder, "page")
            page.write_text("a\n<!-- figures: x -->\nold\n<!-- end -->\nb\n<!-- figures: y -->\n<!-- end -->\n")
            tables.put_into_page(page, "x", "new\n")
            tables.put_into_page(page, "x", "newer\n")
            text = page.read_text()
            self.assertEqual(text.partition("b\n")[0], "a\n<!-- figures: x -->\n\nnewer\n\n<!-- end -->\n")
            self.assertRaises(ValueError, tables.put_into_page, page, "z", "")


if __name__ == "__main__":
    tap.main(__name__)
