# SPDX-License-Identifier: Apache-2.0
"""tables.py - the results as text: the tables of README.md, or a few lines for the terminal."""

import statistics

import rows_alone
import rows_beside
import rows_groups

NOT_MEASURED = "not measured"


def count(value):
    """1234567 as 1.23 M, 12345 as 12.3 k."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2f} {unit}" if value < 10 * size else f"{value / size:.1f} {unit}"
    return f"{value:.0f}"


def with_spread(values, form="{:.2f}"):
    """The median, and in parentheses the least and the most."""
    if not values:
        return NOT_MEASURED
    middle = form.format(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form.format(min(values))} to {form.format(max(values))})"


def taken(rounds, party, figure):
    return [each[party][figure] for each in rounds if figure in each.get(party, {})]


def middle_of(rounds, party, figure):
    values = taken(rounds, party, figure)
    return statistics.median(values) if values else None


def verdict(held):
    """Of the rounds: yes or no if all say so but one in five, else undecided."""
    exceptions = len(held) // 5
    if not held:
        return NOT_MEASURED
    if held.count(False) <= exceptions:
        return "yes"
    return "no" if held.count(True) <= exceptions else "undecided"


def beside_line(row, rounds, party):
    """One line of the first table: the reference, the product, their ratio, the processor time, the own load."""
    latency = row.kind == "latency"

    def rate_or_latency(whom, prefix=""):
        if latency:
            quantiles = [middle_of(rounds, whom, f"{prefix}{name}") for name in ("p50", "p99")]
            if quantiles[0] is None:
                return NOT_MEASURED
            return f"p50 {quantiles[0]:.0f}, p99 {quantiles[1]:.0f} us"
        value = middle_of(rounds, whom, f"{prefix}rate")
        return NOT_MEASURED if value is None else f"{count(value)}/s"

    ratio = with_spread(rows_beside.ratios(rounds, party, "p50" if latency else "rate"))
    if latency and ratio != NOT_MEASURED:
        p99 = with_spread(rows_beside.ratios(rounds, party, "p99"))
        ratio = f"p50 {ratio}; p99 {p99}"
    cost = middle_of(rounds, party, "cpu")
    ratio_cpu = with_spread(rows_beside.ratios(rounds, party, "cpu"))
    if latency or cost is None:
        cpu = ""
    else:
        cpu = f"{cost:.2f} s/M, {ratio_cpu}"
    reach = f"p50 {row.reach} x" if latency else f"{row.reach}"
    if row.reach_cpu:
        reach += f", CPU {row.reach_cpu} x"
    return [
        f"{row.name}: {row.what}",
        party,
        rate_or_latency("reference"),
        rate_or_latency(party),
        ratio,
        cpu,
        reach,
        verdict(rows_beside.reached(row, rounds, party)),
        rate_or_latency(party, "own_"),
    ]


BESIDE_HEAD = [
    *("row", "broker", "reference program", "product", "ratio", "broker CPU a million, ratio"),
    *("reach", "reached", "ternmq-bench"),
]


def beside_table(results):
    """The lines of the first table, head first; `results` is {row: [round..]}."""
    lines = [BESIDE_HEAD]
    for row in rows_beside.ROWS:
        rounds = results.get(row.name)
        if not rounds:
            continue
        parties = [party for party in rounds[0] if party != "reference"]
        lines += [beside_line(row, rounds, party) for party in parties]
    return lines


ALONE_HEAD = ["row", "broker", "figure", "measured", "beside", "reach", "reached"]


def alone_table(results, rows=tuple(rows_alone.ROWS)):
    """The lines of a table of rows that stand alone; `results` is {row: [{party: {figure: value}}..]}."""
    lines = [ALONE_HEAD]
    for row in rows:
        rounds = results.get(row.name, [])
        for party in dict.fromkeys(party for each in rounds for party in each):
            for line in row.lines:
                values = taken(rounds, party, line.figure)
                beside, reach = "", ""
                if line.beside and values:
                    figure, form = line.beside
                    beside = form.format(statistics.median(taken(rounds, party, figure)))
                if line.reach is not None:
                    reach = ("at least " if line.at_least else "at most ") + line.form.format(line.reach)
                held = "" if line.reach is None else verdict(rows_alone.reached(line, values))
                if line.quiet is not None and values:
                    alone = statistics.median(taken(rounds, party, line.beside[0]))
                    held = "not quiet" if alone > line.quiet else held
                measured = with_spread(values, line.form)
                lines.append([f"{row.name}: {row.what}", party, line.what, measured, beside, reach, held])
    return lines


def groups_table(results):
    """The lines of the third table."""
    return alone_table(results, rows_groups.ROWS)


def markdown(lines):
    if len(lines) < 2:
        return ""
    shown, row = [], None
    for line in lines:
        # What a row is about stands in its first line alone.
        cells = [line[0].partition(":")[0] if line[0] == row else line[0], *line[1:]]
        row = line[0]
        shown.append("| " + " | ".join("**no**" if cell == "no" else cell for cell in cells) + " |")
    head, *body = shown
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body]) + "\n"


def put_into_page(page, name, text):
    """Replaces what stands between the marks of `name` in a page."""
    begin, end = f"<!-- figures: {name} -->\n", "<!-- end -->"
    written = page.read_text()
    head, mark, rest = written.partition(begin)
    if not mark or end not in rest:
        raise ValueError(f"{page}: has no place for {name}")
    page.write_text(f"{head}{begin}\n{text.strip()}\n\n{end}{rest.partition(end)[2]}")


def plain(lines):
    """The same for a terminal: below each row's name, and each broker's, a line a figure."""
    written, row = [], None
    for line in lines[1:]:
        if line[0] != row:
            row = line[0]
            written.append(row)
        if lines[0] is ALONE_HEAD:
            _, party, what, value, beside, reach, held = line
            notes = ", ".join(note for note in (beside, reach and f"{reach}: {held}") if note)
            written.append(f"  {party}: {what}: {value}{notes and f'  [{notes}]'}")
        else:
            written.append(f"  {line[1]}")
            named = zip(lines[0][2:], line[2:])
            written += [f"    {name:28} {value}" for name, value in named if value]
    return "\n".join(written) + "\n"
