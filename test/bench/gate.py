# SPDX-License-Identifier: Apache-2.0
"""gate.py - the short form: a few ratios beside what was recorded in gate.json, which belongs to no machine, since a
ratio is the product over the reference program in the same minutes."""

import json
import pathlib
import statistics

import rows_beside

FILE = pathlib.Path(__file__).with_name("gate.json")
ROWS = [row.name for row in rows_beside.ROWS if row.gate]
PARTY = "epoll"
# What medians of three differ by, from run to run of the same build; more than the most would let everything pass.
NOISE_LEAST, NOISE_MOST = 0.10, 0.15


def middle(name, rounds):
    """(the median ratio of a row, half of its spread); None: it was not measured."""
    row = rows_beside.BY_NAME[name]
    values = rows_beside.ratios(rounds, PARTY, "p50" if row.kind == "latency" else "rate")
    if not values:
        return None
    return statistics.median(values), (max(values) - min(values)) / 2


def record(results):
    """Writes what was measured as what is to hold."""
    recorded = {}
    for name in ROWS:
        found = middle(name, results.get(name, []))
        if found is not None:
            noise = round(min(max(found[1], NOISE_LEAST), NOISE_MOST), 2)
            recorded[name] = {"ratio": round(found[0], 2), "noise": noise}
    FILE.write_text(json.dumps(recorded, indent=1) + "\n")


def judge(results):
    """[(row, measured, recorded, noise, whether it holds)]; a row that was not measured does not hold."""
    verdicts = []
    for name, kept in json.loads(FILE.read_text()).items():
        found = middle(name, results.get(name, []))
        latency = rows_beside.BY_NAME[name].kind == "latency"
        if found is None:
            holds = False
        elif latency:
            holds = found[0] <= kept["ratio"] + kept["noise"]
        else:
            holds = found[0] >= kept["ratio"] - kept["noise"]
        verdicts.append((name, found and found[0], kept["ratio"], kept["noise"], holds))
    return verdicts
