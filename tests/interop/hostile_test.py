"""Clients that misbehave hurt nobody but themselves."""

import os
import random
import resource
import socket
import struct
import threading
import time
import unittest

import nbd
from daemon import MIB, Daemon

OPTION = 0x49484156454F5054
REQUEST = 0x25609513


class RawClient:
    """Speaks NBD byte by byte."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)

    def go(self):
        self.receive(18)
        self.socket.sendall(struct.pack(">I", 3))
        data = struct.pack(">I", 0) + struct.pack(">H", 0)
        self.socket.sendall(struct.pack(">QII", OPTION, 7, len(data)) + data)
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.receive(20))
            self.receive(length)
            if kind == 1:
                return self

    def receive(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("hung up")
            data += piece
        return data

    def request(self, kind, offset, length, data=b"", flags=0, cookie=7):
        self.socket.sendall(
            struct.pack(">IHHQQI", REQUEST, flags, kind, cookie, offset, length) + data)

    def reply(self):
        magic, error, cookie = struct.unpack(">IIQ", self.receive(16))
        assert magic == 0x67446698 and cookie == 7, (magic, cookie)
        return error

    def hung_up(self):
        try:
            while self.socket.recv(65536):
                pass
        except (ConnectionError, socket.timeout) as error:
            return not isinstance(error, socket.timeout)
        return True


class Neighbour(threading.Thread):
    """Reads and writes all the time, and knows its slowest request."""

    def __init__(self, uri):
        super().__init__(daemon=True)
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.times = []
        self.stopping = False

    def run(self):
        block = 0
        while not self.stopping:
            begin = time.monotonic()
            self.handle.pwrite(b"n" * 4096, block % 1024 * 4096)
            self.handle.pread(4096, block % 1024 * 4096)
            self.times.append(time.monotonic() - begin)
            block += 1

    def measure(self, seconds):
        self.times = []
        time.sleep(seconds)
        times = sorted(self.times)
        return times[len(times) * 99 // 100], len(times)

    def finish(self):
        self.stopping = True
        self.join(20)


class HostileTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())
        self.uri = self.daemon.serve(size=64 * MIB)
        self.path = self.daemon.file("v.sock")

    def check_alive(self):
        handle = nbd.NBD()
        handle.connect_uri(self.uri)
        handle.pwrite(b"alive" + bytes(507), 0)
        self.assertEqual(handle.pread(512, 0)[:5], b"alive")

    def connections(self):
        return self.daemon.call("attachment.list")["attachments"][0]["connections"]

    def test_what_is_impossible_gets_an_error_and_the_connection_goes_on(self):
        client = RawClient(self.path).go()
        einval, enospc, eoverflow = 22, 28, 75
        for kind, offset, length, flags, error in [
                (0, 64 * MIB, 512, 0, einval), (0, 64 * MIB - 512, 1024, 0, einval),
                (0, (1 << 64) - 512, 512, 0, einval), (0, 1, 512, 0, einval),
                (0, 0, 0, 0, einval), (0, 0, 33 * MIB, 0, eoverflow),
                (4, 64 * MIB, 4096, 0, einval), (6, 0, 0xFFFFFFFF, 0, enospc),
                (7, 0, 4096, 0, einval), (8, 0, 512, 0, einval), (99, 0, 512, 0, einval),
                (0, 0, 512, 0x8000, einval), (5, 64 * MIB, 512, 0, einval)]:
            client.request(kind, offset, length, flags=flags)
            self.assertEqual(client.reply(), error, (kind, offset, length))
        client.request(1, 64 * MIB, 4096, data=bytes(4096))
        self.assertEqual(client.reply(), enospc)
        client.request(1, 0, 4096, data=b"x" * 4096)
        self.assertEqual(client.reply(), 0)
        client.request(0, 0, 4096)
        self.assertEqual(client.reply(), 0)
        self.assertEqual(client.receive(4096), b"x" * 4096)

    def test_garbage_ends_the_connection_that_sent_it(self):
        chance = random.Random(3)
        for _ in range(30):
            client = RawClient(self.path)
            client.socket.sendall(chance.randbytes(chance.randrange(1, 5000)))
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.hung_up())
        for _ in range(30):
            client = RawClient(self.path).go()
            client.request(0, 0, 4096)
            client.socket.sendall(chance.randbytes(chance.randrange(28, 5000)))
            client.socket.shutdown(socket.SHUT_WR)
            self.assertTrue(client.hung_up())
        client = RawClient(self.path).go()
        client.request(1, 0, 0xFFFFFFFF)  # nobody waits for four gigabytes
        self.assertTrue(client.hung_up())
        self.daemon.wait_until(lambda: self.connections() == 0, 10)
        self.check_alive()

    def test_a_client_that_leaves_in_the_middle_leaves_nothing(self):
        for kind, data in [(0, b""), (1, bytes(100)), (1, b"")]:
            for _ in range(20):
                client = RawClient(self.path).go()
                for _ in range(50):
                    client.request(0, 0, MIB)
                client.request(kind, 0, MIB, data=data)
                client.socket.close()
        self.daemon.wait_until(lambda: self.connections() == 0, 20)
        self.check_alive()

    def test_who_does_not_read_holds_up_only_itself(self):
        neighbour = Neighbour(self.uri)
        neighbour.start()
        alone, _ = neighbour.measure(1.5)
        stuck = []
        for _ in range(20):
            client = RawClient(self.path).go()
            client.socket.settimeout(0.2)
            try:
                for _ in range(200):
                    client.request(0, 0, 4 * MIB)
            except socket.timeout:
                pass
            stuck.append(client)
        beside, count = neighbour.measure(1.5)
        neighbour.finish()
        print(f"\n  neighbour's p99: {alone * 1000:.2f} ms alone, {beside * 1000:.2f} ms beside 20 "
              "clients that do not read")
        self.assertGreater(count, 100)
        status = open(f"/proc/{self.daemon.process.pid}/status", encoding="ascii").read()
        resident = int(status.split("VmRSS:")[1].split()[0])
        self.assertLess(resident, 400 * 1024)
        for client in stuck:
            client.socket.close()
        self.daemon.wait_until(lambda: self.connections() == 1, 20)  # the neighbour

    def test_a_client_that_never_chooses_is_cut_off(self):
        client = RawClient(self.path)
        client.receive(18)
        client.socket.sendall(b"\0")
        begin = time.monotonic()
        self.assertTrue(client.hung_up())
        self.assertGreater(time.monotonic() - begin, 5)
        self.check_alive()

    def test_hundreds_of_connections_and_no_more_than_the_limit(self):
        clients = [RawClient(self.path).go() for _ in range(256)]
        self.assertEqual(self.connections(), 256)
        self.assertTrue(RawClient(self.path).hung_up())
        for client in clients:
            client.request(0, 0, 4096)
        for client in clients:
            self.assertEqual(client.reply(), 0)
            client.receive(4096)
        clients.pop().socket.close()
        self.daemon.wait_until(lambda: self.connections() < 256, 10)
        RawClient(self.path).go()

    def test_short_of_descriptors_it_serves_those_it_has(self):
        self.daemon.stop()
        self.daemon.start(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
        self.daemon.wait_until(lambda: os.path.exists(self.path), 20)
        first = RawClient(self.path).go()
        waiting = []
        for _ in range(60):
            waiting.append(RawClient(self.path))
        first.request(0, 0, 4096)
        self.assertEqual(first.reply(), 0)
        first.receive(4096)
        for client in waiting:
            client.socket.close()
        self.daemon.wait_until(lambda: self.connections() == 1, 20)
        self.check_alive()


if __name__ == "__main__":
    unittest.main(verbosity=2)
