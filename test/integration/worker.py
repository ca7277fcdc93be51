# SPDX-License-Identifier: Apache-2.0
"""worker.py HOST:PORT GROUP COMMAND... - runs the command on each message of a group; its failure is a retry.

A whole worker in forty lines: nothing but the msgpack package, one socket, one message at a time. Start as many as
you like: who asks gets. What a worker has when it is killed comes to another one when its lease ends.
"""
import socket
import subprocess
import sys

import msgpack

host, port = sys.argv[1].rsplit(":", 1)
broker = socket.create_connection((host, int(port)))
answers = msgpack.Unpacker()


def call(method, **args):
    broker.sendall(msgpack.packb([0, 1, method, [{"group": sys.argv[2], **args}]]))
    while True:
        for _, _, error, result in answers:
            return result if error is None else sys.exit(f"{error['name']}: {error['message']}")
        answers.feed(broker.recv(65536) or sys.exit("the broker closed the connection"))


while True:
    answer = call("receive", max=1, wait_ms=60000, lease_ms=300000)
    for message_range, record in zip(answer["ranges"], answer["messages"]):
        topic, queue, first, span, _, attempt, lease, _, _ = message_range
        receipt = [topic, queue, first, span, lease]
        message = record[12]  # the body alone, or tag, keys, properties, body
        body = message[3] if isinstance(message, list) else message
        status = subprocess.run(sys.argv[3:], input=body, check=False).returncode
        if status == 0:
            call("ack", receipts=[receipt])
        else:
            call("nack", receipts=[receipt], reason=f"exit status {status}, attempt {attempt}")
