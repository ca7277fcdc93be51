# SPDX-License-Identifier: Apache-2.0
"""profiles.py - where the broker's cycles go under the batched and the pipelined row: system calls of the epoll broker
by strace, and the hottest functions of both backends by perf. A load runs beside; what it measures is thrown away, for
whoever is looked at is slower."""

import re
import shutil
import signal
import subprocess
import threading
import time

import measured
import rows_beside

ROWS = ("C256", "D")
WATCHED_S = 2.0
SYMBOLS_MAX = 14
CALLS_LEAST = 20
PACKAGES = {"strace": "strace", "perf": "linux-perf"}


def load_beside(broker, row, context, seconds):
    """Starts a row's load against a broker; the thread to be joined."""

    def run():
        try:
            if context.reference is not None:
                context.reference.measure_product(broker, row.case, row.durability, seconds)
            else:
                broker.bench(*row.own.split(), "--duration", f"{int(seconds * 1000)}ms")
        except measured.Failed as reason:
            context.say(f"the load beside a profile: {reason}")

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def produced(broker):
    cores = broker.call("stats")["cores"]
    return sum(core["produced_messages"] for core in cores)


def watch(row, variant, context, look):
    """What `look(broker)` gives while a row's load runs."""
    with measured.Broker(context.programs, context.folder / "profile", variant) as broker:
        beside = load_beside(broker, row, context, WATCHED_S + 3)
        time.sleep(2)
        try:
            return look(broker)
        finally:
            beside.join()


def strace_of(broker, context):
    """[(system call, how many, a thousand messages produced)], the most first."""
    out = context.folder / "strace"
    before = produced(broker)
    popen = subprocess.Popen(
        ["strace", "-c", "-f", "-o", str(out), "-p", str(broker.pid)], stderr=subprocess.DEVNULL
    )
    time.sleep(WATCHED_S)
    popen.send_signal(signal.SIGINT)
    popen.wait()
    after = produced(broker)
    messages = max(1, after - before)
    calls = []
    for line in out.read_text().splitlines():
        words = line.split()
        if len(words) >= 5 and re.fullmatch(r"[\d.]+", words[0]) and words[-1] != "total":
            count = int(words[3])
            if count >= CALLS_LEAST:
                calls.append((words[-1], count, 1000 * count / messages))
    return sorted(calls, key=lambda call: -call[1])


def perf_of(broker, context):
    """[(percent, function, where)], the hottest first, and the percentage of all that is the kernel's."""
    data = str(context.folder / "perf.data")
    record = ["perf", "record", "-q", "-F", "2000", "-e", "cpu-clock", "-o", data, "-p", str(broker.pid)]
    done = subprocess.run([*record, "--", "sleep", str(WATCHED_S)], capture_output=True, check=False)
    if done.returncode != 0:
        raise measured.Failed(f"perf record: {done.stderr.decode()[-300:]}")
    report = subprocess.run(
        ["perf", "report", "--stdio", "-i", data, "--sort", "dso,symbol"],
        capture_output=True,
        check=False,
    )
    found = []
    for line in report.stdout.decode(errors="replace").splitlines():
        match = re.match(r"\s*([\d.]+)%\s+(\S+)\s+\[(.)\]\s+(\S+)", line)
        if match:
            where = "kernel" if match[3] == "k" else match[2]
            found.append((float(match[1]), match[4], where))
    return found[:SYMBOLS_MAX], sum(percent for percent, _, where in found if where == "kernel")


def measure(context):
    """The profiles as markdown."""
    written = []
    missing = [f"{tool} (package {package})" for tool, package in PACKAGES.items() if not shutil.which(tool)]
    if missing:
        written.append(f"Not measured, not installed: {', '.join(missing)}.")
    for name in ROWS:
        row = rows_beside.BY_NAME[name]
        written.append(f"#### {name}: {row.what}\n")
        if shutil.which("strace"):
            context.say(f"{name}: strace, epoll")
            calls = watch(row, measured.Variant("epoll", 1), context, lambda b: strace_of(b, context))
            written.append("| system call, epoll | calls | a thousand messages |")
            written.append("|---|---|---|")
            written += [f"| `{call}` | {count:,} | {each:.2f} |" for call, count, each in calls]
            written.append("")
        if shutil.which("perf"):
            columns = []
            for io in ("epoll", "uring"):
                context.say(f"{name}: perf, {io}")
                columns.append(
                    watch(row, measured.Variant(io, 1), context, lambda b: perf_of(b, context))
                )
            written.append("| epoll | in | % | uring | in | % |")
            written.append("|---|---|---|---|---|---|")
            for at in range(max(len(found) for found, _ in columns)):
                cells = []
                for found, _ in columns:
                    percent, symbol, where = found[at] if at < len(found) else ("", "", "")
                    cells += [f"`{symbol}`" if symbol else "", where, str(percent)]
                written.append("| " + " | ".join(cells) + " |")
            shares = [f"{share:.0f} %" for _, share in columns]
            written.append(f"\nIn the kernel: epoll {shares[0]}, uring {shares[1]} of the broker's time.\n")
    return "\n".join(written)
