# SPDX-License-Identifier: Apache-2.0
"""wire.py - the smallest client of both servers: msgpack-RPC over one socket, for tests.

A request is [0, id, method, [args]], an answer [1, id, error, result]; answers come in any order. Needs
nothing but the msgpack package. One thread per client.
"""

import socket
import struct
import time

import msgpack

# Places in a stored record, the array of 13 elements that a delivery is made of.
RECORD_KIND = 3
RECORD_EPOCH = 4
RECORD_QUEUE = 7
RECORD_OFFSET = 8
RECORD_STORED_AT = 9
RECORD_EXTRA = 11
RECORD_MESSAGE = 12
# A socket that lingers for no time ends with a reset.
LINGER_NOT = struct.pack("ii", 1, 0)


class CallFailed(Exception):
    """The server answered with an error; `error` is its map."""

    def __init__(self, method, error):
        super().__init__(f"{method}: {error}")
        self.error = error
        self.name = error["name"]


class Lost(Exception):
    """The connection ended, or could not be made."""


def record_body(record):
    """The body of a record: its message is the body alone, or [tag, keys, properties, body]."""
    message = record[RECORD_MESSAGE]
    return message[3] if isinstance(message, list) else message


class Client:
    """One connection. `send` and `take` pipeline; `call` does both and raises CallFailed."""

    def __init__(self, address, timeout_s=30.0):
        host, _, port = address.rpartition(":")
        try:
            self.socket = socket.create_connection((host, int(port)), timeout=timeout_s)
        except OSError as error:
            raise Lost(f"{address}: {error}") from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unpacker = msgpack.Unpacker(
            raw=False, strict_map_key=False, max_buffer_size=64 << 20
        )
        self.next_id = 1
        self.early = {}

    def send(self, method, **args):
        """Sends one request and gives back its id."""
        request_id = self.next_id
        self.next_id = (self.next_id + 1) & 0xFFFFFFFF
        try:
            self.socket.sendall(msgpack.packb([0, request_id, method, [args]]))
        except OSError as error:
            raise Lost(f"{method}: {error}") from error
        return request_id

    def take(self):
        """The next answer, whichever it is: (id, error or None, result)."""
        while True:
            try:
                kind, request_id, error, result = self.unpacker.unpack()
            except msgpack.OutOfData:
                self._receive()
                continue
            if kind != 1:
                raise AssertionError(f"a server never speaks first, but sent kind {kind}")
            return request_id, error, result

    def take_for(self, request_id):
        """The answer to one request: (error or None, result); others are kept until asked for."""
        while request_id not in self.early:
            other, error, result = self.take()
            self.early[other] = (error, result)
        return self.early.pop(request_id)

    def call(self, method, **args):
        """One request, its result; raises CallFailed with the server's error."""
        error, result = self.take_for(self.send(method, **args))
        if error is not None:
            raise CallFailed(method, error)
        return result

    def _receive(self):
        try:
            data = self.socket.recv(1 << 18)
        except OSError as error:
            raise Lost(str(error)) from error
        if not data:
            raise Lost("closed by the server")
        self.unpacker.feed(data)

    def close(self):
        self.socket.close()

    def reset(self):
        """What the server sees of a process that is killed."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self.socket.close()


def wait_until_ready(address, alive, timeout_s=30.0):
    """Waits until the server answers `hello`, which means ready. `alive` says if waiting has a point."""
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            client = Client(address, timeout_s=5.0)
            try:
                return client.call("hello")
            finally:
                client.close()
        except Lost as lost:
            if not alive():
                raise Lost(f"{address}: its process ended before it was ready") from lost
            if time.monotonic() > give_up_at:
                raise Lost(f"{address}: not ready after {timeout_s} s: {lost}") from lost
            time.sleep(0.01)
