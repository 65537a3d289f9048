"""The daemon or a client is stopped (SIGSTOP, a suspended machine) and goes on later: nobody is cut
off for time in which nothing could be done. STOA_STOPPED_SECONDS: how long."""

import os
import signal
import struct
import subprocess
import threading
import time
import unittest

import nbd
from client import Guest, pattern
from daemon import MIB, Daemon
from hostile_test import OPTION, RawClient

# More than the daemon's patience with its clients.
SECONDS = max(11, float(os.environ.get("STOA_STOPPED_SECONDS", "11")))


class Reader(threading.Thread):
    """Reads large pieces all the time, and checks them."""

    def __init__(self, uri, content):
        super().__init__(daemon=True)
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.content = content
        self.pieces = 0
        self.stopping = False
        self.failure = None

    def run(self):
        try:
            while not self.stopping:
                if self.handle.pread(len(self.content), 0) != self.content:
                    raise AssertionError("read something else")
                self.pieces += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error


class StoppedTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())
        self.uri = self.daemon.serve(size=64 * MIB)

    def stop_the_daemon(self):
        self.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(SECONDS)
        self.daemon.process.send_signal(signal.SIGCONT)

    def test_clients_of_a_daemon_that_was_stopped_go_on(self):
        content = pattern(8 * MIB)
        handle = nbd.NBD()
        handle.connect_uri(self.uri)
        handle.pwrite(content, 0)
        # Together they want more memory than there is for data in flight: they wait for each other.
        readers = [Reader(self.uri, content) for _ in range(32)]
        writers = [Guest(self.uri, 4096 + number * 512, 512, number) for number in range(4)]
        for each in readers + writers:
            each.start()
        time.sleep(0.5)
        # One is in its handshake, and answers while the daemon cannot hear it.
        late = RawClient(self.daemon.file("v.sock"))
        late.receive(18)
        waiting = threading.Timer(1, late.socket.sendall, [
            struct.pack(">I", 3) + struct.pack(">QII", OPTION, 7, 6) + bytes(6)])
        waiting.start()
        self.stop_the_daemon()
        before = [reader.pieces for reader in readers]
        late.receive(20)
        end = time.monotonic() + 30
        while time.monotonic() < end and any(
                reader.pieces < count + 3 and reader.failure is None
                for reader, count in zip(readers, before)):
            time.sleep(0.05)
        for reader in readers:
            reader.stopping = True
        for reader in readers:
            reader.join(20)
            self.assertIsNone(reader.failure)
        for writer in writers:
            writer.finish()
            self.assertEqual(writer.reconnects, 0)
            writer.check()
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck()

    def test_a_client_that_was_stopped_goes_on(self):
        client = subprocess.Popen(
            ["fio", "--name=v", "--ioengine=nbd", f"--uri={self.uri}", "--rw=randrw", "--bs=64k",
             "--iodepth=16", "--size=64m", "--time_based", "--runtime=4", "--verify=crc32c",
             "--verify_fatal=1", "--verify_state_save=0"], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        time.sleep(1)
        client.send_signal(signal.SIGSTOP)
        time.sleep(2)
        # It holds up nobody.
        handle = nbd.NBD()
        handle.connect_uri(self.uri)
        begin = time.monotonic()
        handle.flush()
        self.assertEqual(len(handle.pread(MIB, 0)), MIB)
        self.assertLess(time.monotonic() - begin, 5)  # what waits for it takes 10
        client.send_signal(signal.SIGCONT)
        output, _ = client.communicate(timeout=60)
        self.assertEqual(client.returncode, 0, output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
