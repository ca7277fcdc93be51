# SPDX-License-Identifier: Apache-2.0
"""thirty_lines.py HOST:PORT TOPIC [BODY...] - produces the bodies into queue 0, then prints that queue.

A whole client in thirty lines: nothing but the msgpack package, one socket, one request at a time.
"""
import socket
import sys

import msgpack

host, port = sys.argv[1].rsplit(":", 1)
broker = socket.create_connection((host, int(port)))
answers = msgpack.Unpacker()


def call(method, **args):
    broker.sendall(msgpack.packb([0, 1, method, [args]]))
    while True:
        for _, _, error, result in answers:
            return result if error is None else sys.exit(f"{error['name']}: {error['message']}")
        answers.feed(broker.recv(65536) or sys.exit("the broker closed the connection"))


topic, bodies = sys.argv[2], [body.encode() for body in sys.argv[3:]]
if bodies:
    call("produce", topic=topic, queue=0, messages=bodies)
answer = call("pull", topic=topic, queue=0, first=True)
while answer["messages"]:
    for record in answer["messages"]:
        message = record[12]
        print((message[3] if isinstance(message, list) else message).decode())
    answer = call("pull", topic=topic, queue=0, offset=answer["next"])
