# SPDX-License-Identifier: Apache-2.0
"""worker.py HOST:PORT GROUP COMMAND... - runs the command on each message of a group; its failure is a retry.

A whole worker in forty lines: nothing but msgpack, one socket, one message at a time. Start as many as you like: who
asks gets. What one has when it is killed comes to another when its lease ends. A broker that is away is waited for."""
import shutil
import socket
import subprocess
import sys
import time

import msgpack

host, _, port = "".join(sys.argv[1:2]).rpartition(":")
if len(sys.argv) < 4 or not port.isdigit() or shutil.which(sys.argv[3]) is None:
    sys.exit(f"usage: {__doc__.splitlines()[0]}")


def call(method, **args):
    broker.sendall(msgpack.packb([0, 1, method, [{"group": sys.argv[2], **args}]]))
    _, _, error, result = answers.unpack()
    if error is None:
        return result
    problem = f"{error['name']}: {error['message']}"
    raise ConnectionError(problem) if error["retryable"] else SystemExit(problem)


while True:
    try:
        with socket.create_connection((host, int(port))) as broker:
            answers = msgpack.Unpacker(broker.makefile("rb", 0))
            while got := call("receive", max=1, wait_ms=60000, lease_ms=300000):
                for (topic, queue, first, span, _, attempt, lease, *_), record in zip(got["ranges"], got["messages"]):
                    body = record[12][3] if isinstance(record[12], list) else record[12]  # else tag, keys, properties
                    status = subprocess.run(sys.argv[3:], input=body, check=False).returncode
                    why = {"reason": f"exit status {status}, attempt {attempt}"} if status else {}
                    call("nack" if status else "ack", receipts=[[topic, queue, first, span, lease]], **why)
    except (OSError, msgpack.OutOfData) as problem:
        print(f"waiting: {problem}", file=sys.stderr)
        time.sleep(1)
