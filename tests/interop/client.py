"""A guest: writes through a real NBD client that reconnects and goes on, and knows what it wrote."""

import os
import random
import struct
import threading
import time

import nbd

BLOCK = 4096


def connected(uri):
    handle = nbd.NBD()
    handle.connect_uri(uri)
    return handle


class Guest(threading.Thread):
    """Owns a part of a volume. What fails is tried again until it is acknowledged, as the block
    layer of a guest does whose disk came back; so at the end every block is known."""

    def __init__(self, uri, first, blocks, seed):
        super().__init__(daemon=True)
        self.uri = uri
        self.first = first
        self.blocks = blocks
        self.random = random.Random(seed)
        self.content = {}  # block: what was acknowledged last (None: zeroes)
        self.sequence = 0
        self.acknowledged = 0
        self.reconnects = 0
        self.stopping = threading.Event()
        self.failure = None
        self.handle = None

    def connect(self):
        end = time.monotonic() + 60
        while True:
            handle = nbd.NBD()
            try:
                handle.connect_uri(self.uri)
                self.handle_closed = False
                return handle
            except nbd.Error:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def insist(self, operation):
        while True:
            if self.handle is None:
                self.handle = self.connect()
            try:
                return operation(self.handle)
            except nbd.Error:
                self.handle = None
                self.reconnects += 1

    def data(self, block):
        self.sequence += 1
        head = struct.pack("<QQ", block, self.sequence)
        return (head * (BLOCK // len(head)))[:BLOCK]

    def step(self):
        count = self.random.choice([1, 1, 1, 2, 4, 16])
        start = self.first + self.random.randrange(self.blocks - count)
        choice = self.random.random()
        if choice < 0.85:
            datas = [self.data(start + i) for i in range(count)]
            flags = nbd.CMD_FLAG_FUA if self.random.random() < 0.05 else 0
            self.insist(lambda h: h.pwrite(b"".join(datas), start * BLOCK, flags))
            for i, data in enumerate(datas):
                self.content[start + i] = data
        elif choice < 0.93:
            if choice < 0.89:
                self.insist(lambda h: h.trim(count * BLOCK, start * BLOCK))
            else:
                self.insist(lambda h: h.zero(count * BLOCK, start * BLOCK))
            for i in range(count):
                self.content[start + i] = None
        else:
            self.insist(lambda h: h.flush())
        self.acknowledged += 1

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error

    def finish(self):
        self.stopping.set()
        self.join(120)
        if self.is_alive():
            raise AssertionError("the guest hangs")
        if self.failure:
            raise self.failure
        self.handle = None

    def check(self):
        """Every block holds what was acknowledged last."""
        handle = self.connect()
        for block, data in self.content.items():
            got = handle.pread(BLOCK, block * BLOCK)
            if got != (data if data is not None else bytes(BLOCK)):
                want = "zeroes" if data is None else struct.unpack("<QQ", data[:16])
                raise AssertionError(f"block {block}: got {struct.unpack('<QQ', got[:16])}, "
                                     f"acknowledged {want}")
        handle.shutdown()


def pattern(size, seed=1):
    return random.Random(seed).randbytes(size) if size < (8 << 20) else os.urandom(size)
