# SPDX-License-Identifier: Apache-2.0
"""cluster.py - real processes on loopback for tests: a nameserver, brokers, the command line.

The programs are those of one build folder, named by TERNMQ_BUILD. Every process gets its own free port
and its log goes to a file; a test that fails shows the end of it. Python's standard library only, but
for `hello`, which needs wire.py.
"""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile

import wire

# Below the range that the kernel hands out, so that no outgoing connection takes a port in between.
PORT_FIRST = 20000
PORT_LAST = 32000
LOG_TAIL_BYTES = 4000


def build_folder():
    """The build whose programs are tested."""
    folder = os.environ.get("TERNMQ_BUILD")
    if not folder:
        raise SystemExit("set TERNMQ_BUILD to a build folder, e.g. build-sanitize")
    return pathlib.Path(folder).resolve()


def program_path(name):
    """Where the build put a program."""
    for found in sorted(build_folder().rglob(name)):
        if found.is_file() and not found.is_symlink() and os.access(found, os.X_OK):
            return str(found)
    raise SystemExit(f"{name} is not in {build_folder()}")


def io_arguments():
    """How the servers of a test wait for sockets: TERNMQ_IO, or as they do by themselves."""
    io = os.environ.get("TERNMQ_IO")
    return ["--io", io] if io else []


def free_address():
    """HOST:PORT on loopback that nobody listens on."""
    while True:
        port = random.SystemRandom().randint(PORT_FIRST, PORT_LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return f"127.0.0.1:{port}"


class Process:
    """One server: started at once, killed or stopped by the test, logging to a file.

    `before` is a command that runs it, with other rights or limits.
    """

    def __init__(self, name, arguments, address, log, before=()):
        self.address = address
        self.log = pathlib.Path(log)
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                [*before, program_path(name), *arguments, *io_arguments()],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def alive(self):
        return self.popen.poll() is None

    def wait_until_ready(self, timeout_s=60.0):
        try:
            return wire.wait_until_ready(self.address, self.alive, timeout_s)
        except wire.Lost as lost:
            raise AssertionError(f"{lost}\n{self.log_tail()}") from lost

    def log_tail(self):
        return self.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")

    def kill(self):
        """SIGKILL: what a process can be given no chance to answer."""
        self.popen.kill()
        return self.popen.wait()

    def stop(self, timeout_s=30.0):
        """SIGTERM, and its exit status; a server that does not end is killed and complained of."""
        if self.alive():
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {timeout_s} s\n{self.log_tail()}") from None


class Cluster:
    """A nameserver and a broker in a temporary folder; use it in a `with`, which stops all."""

    def __init__(self, broker_arguments=(), keep_on_failure=False):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="ternmq-test-"))
        self.store = self.folder / "store"
        self.nameserver_address = free_address()
        self.broker_address = free_address()
        # More than one log whatever the machine, since most of what can go wrong needs two.
        several = [] if "--shards" in broker_arguments else ["--shards", "2"]
        self.broker_arguments = [*several, *broker_arguments]
        self.keep_on_failure = keep_on_failure
        self.nameserver = None
        self.broker = None
        self.others = {}

    def __enter__(self):
        try:
            self.start_nameserver()
            self.start_broker()
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise
        return self

    def __exit__(self, kind, value, trace):
        for process in (self.broker, *self.others.values(), self.nameserver):
            if process is not None and process.alive():
                process.kill()
        if kind is not None and self.keep_on_failure:
            print(f"# kept {self.folder}", flush=True)
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start_nameserver(self):
        self.nameserver = Process(
            "ternmq-nameserver",
            ["--listen", self.nameserver_address],
            self.nameserver_address,
            self.folder / "nameserver.log",
        )
        self.nameserver.wait_until_ready()

    def start_broker(self, wait=True):
        self.broker = Process(
            "ternmq-broker",
            [
                *("--store", str(self.store), "--listen", self.broker_address),
                *("--nameserver", self.nameserver_address, *self.broker_arguments),
            ],
            self.broker_address,
            self.folder / "broker.log",
        )
        if wait:
            self.broker.wait_until_ready()

    def start_other(self, name):
        """One more broker, or the same one again at its own address and on its own store."""
        known = self.others.get(name)
        address = free_address() if known is None else known.address
        self.others[name] = Process(
            "ternmq-broker",
            [
                *("--name", name, "--store", str(self.folder / name), "--listen", address),
                *("--nameserver", self.nameserver_address, "--shards", "2"),
            ],
            address,
            self.folder / f"{name}.log",
        )
        self.others[name].wait_until_ready()
        return self.others[name]

    def broker_client(self, timeout_s=30.0):
        return wire.Client(self.broker_address, timeout_s)

    def ternmq(self, *arguments, stdin=b"", timeout_s=60.0, check=True):
        """Runs the command line against this cluster; the completed process, its output as bytes."""
        done = subprocess.run(
            [program_path("ternmq"), "-n", self.nameserver_address, *arguments],
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"ternmq {' '.join(arguments)}: exit status {done.returncode}\n"
                + done.stderr.decode(errors="replace")
            )
        return done
