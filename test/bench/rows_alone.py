# SPDX-License-Identifier: Apache-2.0
"""rows_alone.py - the rows that compare the broker with itself or with the machine: readers far behind, cold reading,
idleness, starts, kills, many queues. Each function measures one round of a row and gives {figure: value}."""

import contextlib
import dataclasses
import os
import pathlib
import socket
import subprocess
import time

import cluster
import machine
import measured
import stores
import wire

READ_BYTES = 4_000_000_000
TAIL = ("--rate", "5000", "--size", "256", "--queues", "1", "--durability", "memory", "--keep-topic")
IDLE_S = 20
IDLE_CONNECTIONS = 1000
KILL_BEHIND_BYTES = 128 << 20
QUEUE_RATE = ("produce", "--rate", "5000", "--size", "256", "--spread", "--durability", "memory", "--unchecked")


def tail_beside(broker, *words):
    """5,000 a second at the tail while all of the topic is read."""
    before = read_from_disk(broker.pid)
    figures = broker.bench("catch-up", *TAIL[:-1], "--warmup", "500ms", *words)
    figures["from_disk"] = read_from_disk(broker.pid) - before
    return figures


def read_from_disk(pid):
    """Bytes that a process has caused to be read from a disk, by the kernel's count."""
    for line in pathlib.Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith("read_bytes:"):
            return int(line.split()[1])
    return 0


def compare_tails(alone, beside):
    ack, delivery = alone["ack_us"]["p99"], alone["end_to_end_us"]["p99"]
    return {
        "alone_ack_p99": ack,
        "alone_delivery_p99": delivery,
        "ack_p99": beside["ack_us"]["p99"],
        "delivery_p99": beside["end_to_end_us"]["p99"],
        "ack_ratio": beside["ack_us"]["p99"] / ack,
        "delivery_ratio": beside["end_to_end_us"]["p99"] / delivery,
        "read_mb_s": beside["read_mb_per_s"],
    }


def measure_tail_alone(broker, context):
    duration = f"{max(2, int(context.seconds))}s"
    return broker.bench("latency", *TAIL, "--warmup", "500ms", "--duration", duration)


def tail_warm(context, filled):
    """Reads again and again from the page cache for as long as is measured."""
    broker = filled.broker(READ_BYTES)
    warm(broker)
    alone = measure_tail_alone(broker, context)
    beside = tail_beside(broker, "--duration", f"{max(2, int(context.seconds))}s")
    computing = tail_beside_computing(broker, context)
    control = computing["end_to_end_us"]["p99"] / alone["end_to_end_us"]["p99"]
    return compare_tails(alone, beside) | {
        "disk_share": beside["from_disk"] / READ_BYTES,
        "control_ratio": control,
    }


def tail_beside_computing(broker, context):
    """The same tail while as many processes as there are processors compute, and nobody reads."""
    computing = [subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"]) for _ in range(os.cpu_count())]
    try:
        return measure_tail_alone(broker, context)
    finally:
        for process in computing:
            process.kill()
            process.wait()


def warm(broker):
    """Reads the store once: earlier rows may have dropped it; and nothing is left to be written back."""
    for path in broker.segments():
        with open(path, "rb") as file:
            while file.read(1 << 20):
                pass
    subprocess.run(["sync"], check=True)


def tail_cold(context, filled):
    """Reads once what is on the disk alone."""
    broker = filled.broker(READ_BYTES)
    broker.restart()
    alone = measure_tail_alone(broker, context)
    broker.drop_from_cache()
    beside = tail_beside(broker)
    broker.drop_from_cache()
    by_others = tail_beside_others(broker, context)
    control = by_others["end_to_end_us"]["p99"] / alone["end_to_end_us"]["p99"]
    return compare_tails(alone, beside) | {
        "disk_share": beside["from_disk"] / READ_BYTES,
        "control_ratio": control,
    }


def tail_beside_others(broker, context):
    """The same tail while another process reads the same bytes from the same disk, and the broker nothing."""
    read = "sleep 0.6; for path; do dd if=$path of=/dev/null bs=1M status=none; done"
    paths = [str(path) for path in broker.segments()]
    with subprocess.Popen(["/bin/sh", "-c", read, "sh", *paths]) as reader:
        figures = measure_tail_alone(broker, context)
        reader.wait()
    return figures


def swallow(address):
    """Connects and receives until the end, in a process of its own; its pid."""
    pid = os.fork()
    if pid == 0:
        buffer = bytearray(1 << 20)
        with socket.create_connection(address) as taken:
            while taken.recv_into(buffer):
                pass
        os._exit(0)
    return pid


def sendfile_mb_s(paths):
    """Files over loopback by nothing but sendfile, 1 MiB at a time, waiting for the disk within it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        begun = time.monotonic()
        pid = swallow(server.getsockname())
        connection, _ = server.accept()
    sent = 0
    with connection:
        for path in paths:
            with open(path, "rb") as file:
                at = 0
                while count := os.sendfile(connection.fileno(), file.fileno(), at, 1 << 20):
                    at += count
            sent += at
        connection.shutdown(socket.SHUT_WR)
        os.waitpid(pid, 0)
    return sent / (time.monotonic() - begun) / 1e6


def cold_read(context, filled):
    """dd of every segment, sendfile of every segment over loopback, then a catch-up reader, each from what is on the
    disk alone."""
    broker = filled.broker(READ_BYTES)
    broker.restart()
    broker.drop_from_cache()
    begun = time.monotonic()
    read = 0
    for path in broker.segments():
        subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"], check=True)
        read += path.stat().st_size
    dd = read / (time.monotonic() - begun) / 1e6
    broker.drop_from_cache()
    bare = sendfile_mb_s(broker.segments())
    broker.drop_from_cache()
    before = read_from_disk(broker.pid)
    figures = broker.bench("catch-up")
    # The log's bytes, not the bodies': dd reads the heads, too.
    product = stores.position(broker) / figures["seconds"] / 1e6
    return {
        "dd_mb_s": dd,
        "sendfile_mb_s": bare,
        "mb_s": product,
        "ratio": product / dd,
        "ratio_sendfile": product / bare,
        "disk_share": (read_from_disk(broker.pid) - before) / READ_BYTES,
    }


@contextlib.contextmanager
def nameserver(context):
    """A nameserver by itself: (its address, its pid)."""
    address = cluster.free_address()
    command = [str(context.programs / "ternmq-nameserver"), "--listen", address]
    popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wire.wait_until_ready(address, lambda: popen.poll() is None)
        yield address, popen.pid
    finally:
        popen.terminate()
        popen.wait()


def idle(context, filled):
    """A broker, another one with 1,000 connections that have said hello, and their nameserver, at the same time."""
    with contextlib.ExitStack() as stack:
        address, nameserver_pid = stack.enter_context(nameserver(context))
        brokers = [
            stack.enter_context(
                measured.Broker(
                    context.programs,
                    context.folder / f"idle-{number}",
                    filled.variant,
                    arguments=["--name", f"idle-{number}"],
                    nameserver=address,
                )
            )
            for number in range(2)
        ]
        for _ in range(IDLE_CONNECTIONS):
            client = stack.enter_context(contextlib.closing(brokers[1].client()))
            client.call("hello")
        pids = {"broker": brokers[0].pid, "connected": brokers[1].pid, "nameserver": nameserver_pid}
        time.sleep(1)
        before = {name: machine.cpu_s(pid) for name, pid in pids.items()}
        time.sleep(IDLE_S)
        found = {}
        for name, pid in pids.items():
            found[f"{name}_cpu"] = (machine.cpu_s(pid) - before[name]) / IDLE_S * 100
            found[f"{name}_mib"] = machine.rss_kib(pid) / 1024
        return found


def answer_time_ms(broker, ask):
    """From exec until `ask(client)` is true, on a connection made as soon as it can be."""
    host, _, port = broker.address.rpartition(":")
    while time.monotonic() - broker.begun_at < 60:
        try:
            socket.create_connection((host, int(port)), 1).close()
            client = broker.client()
        except (OSError, wire.Lost):
            time.sleep(0.0005)
            continue
        try:
            if ask(client):
                return (time.monotonic() - broker.begun_at) * 1000
        except (wire.Lost, wire.CallFailed):
            time.sleep(0.0005)
        finally:
            client.close()
    raise measured.Failed("the broker did not answer within 60 s")


def start_empty(context, filled):
    """A store that is made, then the same empty store started again."""
    with measured.Broker(context.programs, context.folder / "empty", filled.variant) as broker:
        broker.stop()
        broker.start(wait=False)
        again = answer_time_ms(broker, lambda client: client.call("hello"))
        shards = len(broker.call("stats")["shards"])
        disk = machine.allocated_bytes(broker.store) / shards / 2**20
        broker.stop()
        subprocess.run(["rm", "-rf", str(broker.store)], check=True)
        broker.start(wait=False)
        first = answer_time_ms(broker, lambda client: client.call("hello"))
        return {"first_ms": first, "again_ms": again, "disk_mib": disk}


def consumed(client):
    """Whether the first message of the topic can be consumed."""
    return bool(client.call("pull", topic=measured.TOPIC, queue=0, offset=0, max_bytes=1)["messages"])


def kill(context, filled):
    """Killed with 1 GB and with 5 GB stored, the log equally far behind its last snapshot; who is first changes from
    round to round."""
    found = {}
    brokers = {
        "1gb": filled.broker(1_000_000_000, KILL_BEHIND_BYTES),
        "5gb": filled.broker(5_000_000_000, KILL_BEHIND_BYTES),
    }
    order = list(brokers)
    if filled.turn():
        order.reverse()
    for name in order:
        broker = brokers[name]
        found[f"{name}_behind_mib"] = stores.behind_snapshot(broker) / 2**20
        broker.kill()
        broker.start(wait=False)
        found[f"{name}_ms"] = answer_time_ms(broker, consumed)
    found["ratio"] = found["5gb_ms"] / found["1gb_ms"]
    return found


def queues(context, filled):
    """The same open loop over 10 queues and over 10,000, and what the broker's own memory grows by for them."""
    found = {}
    duration = ("--warmup", "1s", "--duration", f"{max(2, int(context.seconds))}s")
    for name, topics, each in (("few", 1, 10), ("many", 10, 1000)):
        with measured.Broker(context.programs, context.folder / "queues", filled.variant) as broker:
            shape = ("--topics", str(topics), "--queues", str(each))
            once = ("produce", "--size", "256", "--batch", "1", "--spread", "--durability", "memory")
            broker.bench(*once, *shape, "--unchecked", "--messages", str(10_000))
            found[f"{name}_kib"] = machine.anonymous_kib(broker.pid)
            figures = broker.bench(*QUEUE_RATE, *shape, *duration, "--keep-topic")
            found[f"{name}_p99"] = figures["ack_us"]["p99"]
    found["ratio"] = found["many_p99"] / found["few_p99"]
    found["queue_bytes"] = (found["many_kib"] - found["few_kib"]) * 1024 / (10_000 - 10)
    return found


@dataclasses.dataclass(frozen=True)
class Line:
    """One figure of a row that stands in the table."""

    what: str
    figure: str
    form: str
    reach: float | None = None  # at most, unless at_least
    at_least: bool = False
    beside: tuple = ()  # (figure, form) of what stands beside it
    quiet: float | None = None  # above it `beside` says that the machine was not quiet, and nothing is judged


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    what: str
    measure: object
    lines: tuple


P99_ALONE = "from {:.0f} us alone"
QUIET_P99_US = 1000
TAIL_LINES = (
    Line("produce p99, over without", "ack_ratio", "{:.1f} x", 2, False, ("alone_ack_p99", P99_ALONE), QUIET_P99_US),
    Line("delivery p99, over without", "delivery_ratio", "{:.1f} x", 2, False, ("alone_delivery_p99", P99_ALONE), QUIET_P99_US),
    Line("read beside it", "read_mb_s", "{:.0f} MB/s"),
)
ROWS = [
    Row(
        "TAIL",
        "5,000/s at the tail while one consumer reads 4 GB from page cache",
        tail_warm,
        (
            *TAIL_LINES,
            Line("delivery p99 while a process a processor computes, over without", "control_ratio", "{:.1f} x"),
        ),
    ),
    Row(
        "TAILCOLD",
        "5,000/s at the tail while one consumer reads 4 GB dropped from page cache",
        tail_cold,
        (
            *TAIL_LINES,
            Line("of it read from the disk", "disk_share", "{:.2f}"),
            Line("delivery p99 while dd, not the broker, reads the same, over without", "control_ratio", "{:.1f} x"),
        ),
    ),
    Row(
        "COLD",
        "cold catch-up read, over dd of the same segments",
        cold_read,
        (
            Line("over dd", "ratio", "{:.2f}", 0.8, True, ("dd_mb_s", "dd {:.0f} MB/s")),
            Line(
                *("over a bare sendfile through loopback", "ratio_sendfile", "{:.2f}"),
                beside=("sendfile_mb_s", "sendfile {:.0f} MB/s"),
            ),
            Line("read", "mb_s", "{:.0f} MB/s"),
            Line("of it read from the disk", "disk_share", "{:.2f}"),
        ),
    ),
    Row(
        "IDLE",
        "idle for 20 s",
        idle,
        (
            Line("broker, memory", "broker_mib", "{:.1f} MiB", 12),
            Line("broker, CPU", "broker_cpu", "{:.2f} %", 0.05),
            Line("broker with 1,000 connections, memory", "connected_mib", "{:.1f} MiB", 20),
            Line("broker with 1,000 connections, CPU", "connected_cpu", "{:.2f} %", 0.05),
            Line("nameserver, memory", "nameserver_mib", "{:.1f} MiB", 4),
            Line("nameserver, CPU", "nameserver_cpu", "{:.2f} %", 0.05),
        ),
    ),
    Row(
        "START",
        "empty store",
        start_empty,
        (
            Line("exec to first answered call, store made", "first_ms", "{:.0f} ms", 100),
            Line("exec to first answered call, store there", "again_ms", "{:.0f} ms", 100),
            Line("disk taken, a shard", "disk_mib", "{:.1f} MiB", 32),
        ),
    ),
    Row(
        "KILL",
        "SIGKILL, 128 MiB behind the last snapshot: exec to first consumed message",
        kill,
        (
            Line("1 GB stored", "1gb_ms", "{:.0f} ms", 500, False, ("1gb_behind_mib", "{:.0f} MiB behind")),
            Line("5 GB stored", "5gb_ms", "{:.0f} ms", 500, False, ("5gb_behind_mib", "{:.0f} MiB behind")),
            Line("5 GB over 1 GB", "ratio", "{:.2f} x", 1.2),
        ),
    ),
    Row(
        "QUEUES",
        "5,000/s over 10,000 queues in turn, over 10 queues",
        queues,
        (
            Line("produce p99", "ratio", "{:.2f} x", 1.2, False, ("few_p99", "from {:.0f} us with 10"), QUIET_P99_US),
            Line("memory a queue", "queue_bytes", "{:.0f} B", 512),
        ),
    ),
]
BY_NAME = {row.name: row for row in ROWS}


def reached(line, values):
    """Of each round, whether a line's value is what is to be reached."""
    return [value >= line.reach if line.at_least else value <= line.reach for value in values]
