#!/usr/bin/python3
"""A file whose flush takes longer: slow_flush.py BACKING MOUNTPOINT MILLISECONDS

Serves the file BACKING at the file MOUNTPOINT through FUSE, until it gets SIGTERM. Reads and writes
go to BACKING at once; the answer to a flush comes MILLISECONDS later, and other requests go on
meanwhile. (The kernel itself lets no write to a FUSE file start while that file is being flushed.)
Needs root. Speaks the kernel's protocol (linux/fuse.h) itself, as few requests as a server needs.
"""

import ctypes
import errno
import heapq
import os
import select
import signal
import struct
import sys
import time

HEADER = struct.Struct("<IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, extension, -
TRANSFER = struct.Struct("<QQIIQII")  # of reads and writes: handle, offset, size, …
GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 3, 4, 14, 15, 16, 17, 18, 20
FORGET, FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 2, 25, 26, 36, 38, 42
SILENT = {FORGET, BATCH_FORGET, INTERRUPT, DESTROY}
ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES = 1 << 0, 1 << 5, 1 << 15, 1 << 22
DIRECT_IO, PARALLEL_WRITES = 1 << 0, 1 << 6
WRITE_MAX = 1 << 20


class SlowFile:
    def __init__(self, backing, milliseconds):
        self.file = os.open(backing, os.O_RDWR)
        self.seconds = milliseconds / 1000
        self.fuse = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        self.due = []  # (when, unique) of flushes
        self.buffer = bytearray(WRITE_MAX + 4096)

    def mount(self, path):
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fuse},rootmode=100600,user_id=0,group_id=0"
        if libc.mount(b"slow", os.fsencode(path), b"fuse", 0, options.encode()) != 0:
            sys.exit(f"slow_flush: {path}: {os.strerror(ctypes.get_errno())}")

    def reply(self, unique, payload=b"", error=0):
        os.write(self.fuse, struct.pack("<IiQ", 16 + len(payload), -error, unique) + payload)

    def attributes(self):
        size = os.fstat(self.file).st_size
        return struct.pack("<QII6Q10I", 3600, 0, 0, 1, size, size // 512, 0, 0, 0, 0, 0, 0,
                           0o100600, 1, 0, 0, 0, 4096, 0)

    def answer(self, opcode, unique, body):
        """The payload of the reply; None: it comes later."""
        if opcode == READ:
            _, offset, size, *_ = TRANSFER.unpack_from(body)
            return os.pread(self.file, size, offset)
        if opcode == WRITE:
            _, offset, size, *_ = TRANSFER.unpack_from(body)
            return struct.pack("<II", os.pwrite(self.file, body[TRANSFER.size:][:size], offset), 0)
        if opcode == FSYNC:
            heapq.heappush(self.due, (time.monotonic() + self.seconds, unique))
            return None
        if opcode == INIT:
            flags = ASYNC_READ | BIG_WRITES | ASYNC_DIO | MAX_PAGES
            return struct.pack("<4IHHIIHHI7I", 7, 31, 1 << 20, flags, 64, 48, WRITE_MAX, 1,
                               WRITE_MAX // 4096, 0, 0, *[0] * 7)
        if opcode in (GETATTR, SETATTR):
            return self.attributes()
        if opcode == OPEN:
            return struct.pack("<QII", 0, DIRECT_IO | PARALLEL_WRITES, 0)
        if opcode == STATFS:
            return struct.pack("<5Q10I", 1 << 30, 1 << 29, 1 << 29, 1, 1, 4096, 255, 4096, *[0] * 7)
        if opcode in (RELEASE, FLUSH):
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def serve(self):
        while True:
            wait = max(0, self.due[0][0] - time.monotonic()) if self.due else None
            ready, _, _ = select.select([self.fuse], [], [], wait)
            while self.due and self.due[0][0] <= time.monotonic():
                self.reply(heapq.heappop(self.due)[1])
            if not ready:
                continue
            try:
                length = os.readv(self.fuse, [self.buffer])
            except (BlockingIOError, FileNotFoundError):  # taken back by the kernel
                continue
            _, opcode, unique, *_ = HEADER.unpack_from(self.buffer)
            if opcode in SILENT:
                continue
            try:
                payload = self.answer(opcode, unique, memoryview(self.buffer)[HEADER.size:length])
            except OSError as error:
                self.reply(unique, error=error.errno)
                continue
            if payload is not None:
                self.reply(unique, payload)


def main():
    backing, mountpoint, milliseconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    slow = SlowFile(backing, milliseconds)
    slow.mount(mountpoint)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        slow.serve()
    except OSError as error:
        if error.errno != errno.ENODEV:  # unmounted
            raise
    finally:
        ctypes.CDLL(None).umount2(os.fsencode(mountpoint), 2)


if __name__ == "__main__":
    main()
