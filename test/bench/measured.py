# SPDX-License-Identifier: Apache-2.0
"""measured.py - what is measured: the product's broker on an empty store, the reference program, and the two loads
that drive them. Each run has a fresh process, an empty folder and a topic made anew: the reference load begins at
offset 0 and ends with an error when a message is lost, repeated, out of order or not whole."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import cluster
import machine
import wire

TOPIC = "bench"
RUN_TIMEOUT_S = 180
# No nameserver: nobody listens there. A catalogue change waits half a second for it, before anything is measured.
NO_NAMESERVER = "127.0.0.1:1"


class Failed(Exception):
    """A run that gave no figure."""


@dataclasses.dataclass(frozen=True)
class Variant:
    """How the product's broker is started."""

    io: str  # epoll, uring
    shards: int = 0  # 0: its default

    @property
    def label(self):
        return self.io + (f", {self.shards} shards" if self.shards > 1 else "")

    @property
    def arguments(self):
        return ["--io", self.io, *(["--shards", str(self.shards)] if self.shards else [])]


class Broker:
    """One broker process; use it in a `with`. Its log is a file beside the store."""

    def __init__(self, programs, folder, variant, arguments=(), nameserver=NO_NAMESERVER, before=()):
        self.programs = pathlib.Path(programs)
        self.folder = pathlib.Path(folder)
        self.store = self.folder / "store"
        self.variant = variant
        self.arguments = list(arguments)
        self.nameserver = nameserver
        self.before = list(before)
        self.address = cluster.free_address()
        self.popen = None
        self.begun_at = 0.0

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, wait=True):
        """Starts it on the store as it is; `begun_at` is the moment of exec."""
        command = [
            *self.before,
            str(self.programs / "ternmq-broker"),
            *("--store", str(self.store), "--listen", self.address),
            *("--nameserver", self.nameserver, "--log-level", "warn"),
            *self.variant.arguments,
            *self.arguments,
        ]
        with open(self.folder / "log", "ab") as log:
            self.begun_at = time.monotonic()
            self.popen = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            wire.wait_until_ready(self.address, lambda: self.popen.poll() is None)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def port(self):
        return int(self.address.rpartition(":")[2])

    def kill(self):
        self.popen.kill()
        self.popen.wait()

    def restart(self):
        """Ends it in order and starts it on the same store: nothing is mapped then but what a start needs."""
        self.stop()
        self.start()

    def segments(self):
        """The segment files of its store, the oldest first."""
        return sorted(self.store.glob("*/[0-9]*.log"))

    def drop_from_cache(self):
        """Everything of its store out of the page cache, but for what the broker itself has touched since it was
        started."""
        machine.drop_from_cache(path for path in self.store.rglob("*") if path.is_file())

    def stop(self):
        if self.popen is not None and self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()

    def client(self):
        return wire.Client(self.address)

    def call(self, method, **arguments):
        client = self.client()
        try:
            return client.call(method, **arguments)
        finally:
            client.close()

    def make_topic(self, durability, name=TOPIC, queues=1):
        self.call("topic.put", name=name, queues=queues, settings={"durability": durability})

    def bench(self, *words, timeout_s=RUN_TIMEOUT_S):
        """ternmq-bench against it; its figures, and how many processors others were at work on meanwhile."""
        command = [str(self.programs / "ternmq-bench"), *words, "--json", "--broker", self.address]
        begun, busy = time.monotonic(), machine.busy_s()
        own = machine.cpu_s(self.pid) + machine.children_cpu_s()
        done = subprocess.run(
            [*command, "--pid", str(self.pid)], capture_output=True, timeout=timeout_s, check=False
        )
        own = machine.cpu_s(self.pid) + machine.children_cpu_s() - own
        others = max(0.0, machine.busy_s() - busy - own) / (time.monotonic() - begun)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise Failed(f"ternmq-bench {' '.join(words)}: exit {done.returncode}: {said[-400:]}")
        return json.loads(done.stdout) | {"others": others}


def default_shards(programs, folder):
    """How many shards a new store gets on this machine."""
    with Broker(programs, folder, Variant("epoll")) as broker:
        return len(broker.call("stats")["shards"])


class Reference:
    """The reference program of a folder: built once, into a folder that goes away with the run."""

    LIBRARIES = ("-lisal", "-luring", "-lpthread")

    def __init__(self, sources, into):
        self.sources = pathlib.Path(sources)
        self.into = pathlib.Path(into)
        self.broker = self._build("_broker.c")
        self.load = self._build("_load.c")

    def _build(self, suffix):
        found = sorted(self.sources.glob(f"*{suffix}"))
        if len(found) != 1:
            raise Failed(f"--reference {self.sources}: one file *{suffix} is wanted, there are {len(found)}")
        program = self.into / found[0].stem
        command = ["gcc", "-O3", "-march=native", "-w", str(found[0]), "-o", str(program)]
        done = subprocess.run([*command, *self.LIBRARIES], capture_output=True, check=False)
        if done.returncode != 0:
            raise Failed(f"{found[0].name} does not build:\n{done.stderr.decode()[-1500:]}")
        return program

    def drive(self, port, pid, case, seconds):
        """The reference load against whoever listens on `port`; its figures."""
        command = [str(self.load), "-p", str(port), "-B", str(pid), "-t", "case", "-W", "0.5"]
        try:
            done = subprocess.run(
                [*command, "-d", str(seconds), *case.split()],
                capture_output=True,
                timeout=RUN_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            raise Failed(f"the reference load did not end: {case}") from late
        if done.returncode != 0:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise Failed(f"the reference load ({case}): {said[-400:]}")
        return read_figures(done.stdout.decode().strip().splitlines()[-1])

    def measure_itself(self, folder, case, durability, seconds):
        """The reference program on an empty folder, driven by its own load."""
        folder = pathlib.Path(folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        port = cluster.free_address().rpartition(":")[2]
        flags = ["-d"] if durability == "disk" else []
        popen = subprocess.Popen(
            [str(self.broker), "-p", port, "-D", str(folder), *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return self.drive(port, popen.pid, case, seconds)  # it tries again until somebody listens
        finally:
            popen.terminate()
            popen.wait()
            shutil.rmtree(folder, ignore_errors=True)

    def measure_product(self, broker, case, durability, seconds):
        broker.make_topic(durability)
        return self.drive(broker.port, broker.pid, case, seconds)


def read_figures(line):
    """The line that the reference load ends with: rates a second, the broker's processor seconds a million
    messages, and quantiles in microseconds."""
    words = line.split()
    figures = {}
    for name in ("in", "out", "bcpu", "bcore", "lcore", "idle", "steal"):
        figures[name] = float(words[words.index(name) + 1])
    for name in ("ack", "e2e"):
        at = words.index(name)
        for step, quantile in enumerate(("p50", "p99", "p99_9", "max"), 1):
            figures[f"{name}_{quantile}"] = float(words[at + step])
    # The load says idle and steal as of two processors. What nobody of ours was, somebody else was.
    processors = os.cpu_count()
    busy = processors * (1 - (figures["idle"] + figures["steal"]) / 2)
    figures["others"] = max(0.0, busy - figures["bcore"] - figures["lcore"])
    return figures
