# SPDX-License-Identifier: Apache-2.0
"""rows_beside.py - the rows that are a ratio: the product beside the reference program, both driven by the same load
in the same minutes, in turns. A ratio is taken within a round, so that drift of the machine meets both sides."""

import dataclasses
import statistics

import measured


@dataclasses.dataclass(frozen=True)
class Row:
    """One work: how both loads are told of it, and what is to be reached."""

    name: str
    what: str
    durability: str
    case: str  # arguments of the reference load
    own: str  # of ternmq-bench
    kind: str  # in, out: messages a second of that direction; latency: end to end
    reach: float  # of the reference's: at least for a rate, at most for a latency's p50
    reach_cpu: float = 0.0  # broker's processor time a message, at most; 0: not asked for
    uring: bool = False  # is measured on io_uring, too, unless --io says otherwise
    gate: bool = False  # part of the short form


# Of one processor: the kernel's own threads take up to this beside a broker that writes.
OTHERS_MOST = 0.4
OWN_C = "both --queues 1 --durability memory --batch 100 --window 8"
OWN_E = "produce --queues 1 --batch 1 --window 1 --connections 64 --size 256"
OWN_G = "latency --queues 1 --connections 4 --size 256"

ROWS = [
    Row(
        name="C256",
        what="batched, in and out at once, 256 B, memory",
        durability="memory",
        case="-c 1 -b 100 -w 8 -s 256 -C 1 -k",
        own=f"{OWN_C} --size 256",
        kind="out",
        reach=0.6,
        reach_cpu=1.7,
        uring=True,
        gate=True,
    ),
    Row(
        name="C1024",
        what="batched, in and out at once, 1 KiB, memory",
        durability="memory",
        case="-c 1 -b 100 -w 8 -s 1024 -C 1 -k",
        own=f"{OWN_C} --size 1024",
        kind="out",
        reach=0.6,
        uring=True,
    ),
    Row(
        name="FC",
        what="batched, in and out, 4 connections, 256 B, disk",
        durability="disk",
        case="-c 4 -b 100 -w 8 -s 256 -C 1 -k",
        own="both --queues 1 --durability disk --batch 100 --window 8 --connections 4 --size 256",
        kind="out",
        reach=0.6,
    ),
    Row(
        name="D",
        what="single messages pipelined, 8 connections, in and out, memory",
        durability="memory",
        case="-c 8 -w 64 -s 256 -C 1 -k",
        own="both --queues 1 --durability memory --batch 1 --window 64 --connections 8 --size 256",
        kind="out",
        reach=0.6,
        uring=True,
        gate=True,
    ),
    Row(
        name="E",
        what="single messages, one at a time on each of 64 connections, memory",
        durability="memory",
        case="-c 64 -w 1 -s 256",
        own=f"{OWN_E} --durability memory",
        kind="in",
        reach=0.85,
        uring=True,
        gate=True,
    ),
    Row(
        name="FE",
        what="single messages, one at a time on each of 64 connections, disk",
        durability="disk",
        case="-c 64 -w 1 -s 256",
        own=f"{OWN_E} --durability disk",
        kind="in",
        reach=0.85,
    ),
    Row(
        name="B1024",
        what="catch-up read from page cache, 1 KiB",
        durability="memory",
        case="-c 1 -b 500 -w 4 -s 1024 -C 1 -z -n 900000 -k",
        own="consume --queues 1 --durability memory --batch 500 --window 4 --size 1024 --messages 900000",
        kind="out",
        reach=0.8,
        gate=True,
    ),
    Row(
        name="G10000",
        what="end to end, single messages at 10,000/s, memory",
        durability="memory",
        case="-c 4 -s 256 -C 1 -k -R 10000",
        own=f"{OWN_G} --rate 10000 --durability memory",
        kind="latency",
        reach=1.4,
        uring=True,
        gate=True,
    ),
    Row(
        name="G50000",
        what="end to end, single messages at 50,000/s, memory",
        durability="memory",
        case="-c 4 -s 256 -C 1 -k -R 50000",
        own=f"{OWN_G} --rate 50000 --durability memory",
        kind="latency",
        reach=1.4,
        uring=True,
    ),
    Row(
        name="G10000d",
        what="end to end, single messages at 10,000/s, disk",
        durability="disk",
        case="-c 4 -s 256 -C 1 -k -R 10000",
        own=f"{OWN_G} --rate 10000 --durability disk",
        kind="latency",
        reach=1.4,
    ),
]
BY_NAME = {row.name: row for row in ROWS}


def own_figures(row, figures):
    """What of ternmq-bench's figures stands beside a row's."""
    if row.kind == "latency":
        latency = figures["end_to_end_us"]
        return {"own_p50": latency["p50"], "own_p99": latency["p99"]}
    rate = figures["produced_per_s" if row.kind == "in" else "consumed_per_s"]
    return {"own_rate": rate, "own_cpu": figures["broker_cpu_us"]}


def product_figures(row, figures):
    """What of the reference load's figures a row is about."""
    others = {"others": figures["others"]}
    if row.kind == "latency":
        return others | {"p50": figures["e2e_p50"], "p99": figures["e2e_p99"]}
    return others | {"rate": figures[row.kind], "cpu": figures["bcpu"]}


def patiently(context, run):
    """The figures of `run()`; as often as the context has patience it is repeated while others are at work, and the
    least disturbed stands."""
    best = run()
    for _ in range(context.patience):
        if best["others"] <= OTHERS_MOST:
            break
        context.say(f"others took {best['others']:.1f} of a processor: again")
        best = min(best, run(), key=lambda figures: figures["others"])
    return best


def measure_product(row, variant, context):
    with measured.Broker(context.programs, context.folder / "p", variant) as broker:
        return context.reference.measure_product(broker, row.case, row.durability, context.seconds)


def measure_round(row, variants, context):
    """One turn of everybody: the reference, then each variant by both loads. {party: {figure: value}}."""
    found = {}
    reference = context.reference
    if reference is not None:
        context.say(f"{row.name}: reference program")
        itself = (context.folder / "r", row.case, row.durability, context.seconds)
        figures = patiently(context, lambda: reference.measure_itself(*itself))
        found["reference"] = product_figures(row, figures)
    for variant in variants:
        figures = {}
        if reference is not None:
            context.say(f"{row.name}: {variant.label}, reference load")
            figures = product_figures(
                row, patiently(context, lambda: measure_product(row, variant, context))
            )
        if context.own:
            context.say(f"{row.name}: {variant.label}, ternmq-bench")
            timing = ("--duration", f"{int(context.seconds * 1000)}ms", "--warmup", "500ms")
            with measured.Broker(context.programs, context.folder / "p", variant) as broker:
                figures |= own_figures(row, broker.bench(*row.own.split(), *timing))
        found[variant.label] = figures
    return found


def ratios(rounds, party, figure):
    """Of each round: the party's figure over the reference's."""
    return [
        each[party][figure] / each["reference"][figure]
        for each in rounds
        if each.get("reference", {}).get(figure) and each.get(party, {}).get(figure) is not None
    ]


def disturbed(results):
    """(runs by the reference load during which others took more than OTHERS_MOST of a processor, all of them)."""
    others = [
        figures["others"]
        for rounds in results.values()
        for each in rounds
        for figures in each.values()
        if "others" in figures
    ]
    return sum(share > OTHERS_MOST for share in others), len(others)


def reached(row, rounds, party):
    """Of each round that was measured, whether it is what is to be reached."""
    values = ratios(rounds, party, "p50" if row.kind == "latency" else "rate")
    if row.kind == "latency":
        return [value <= row.reach for value in values]
    costs = ratios(rounds, party, "cpu")
    return [
        value >= row.reach and (not row.reach_cpu or cost <= row.reach_cpu)
        for value, cost in zip(values, costs, strict=True)
    ]
