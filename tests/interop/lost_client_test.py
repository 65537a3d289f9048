"""Clients that are lost with requests under way: nothing of them happens after they are gone."""

import time
import unittest

import nbd
from client import connected
from daemon import GIB, MIB, Daemon


class LostClientTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())
        self.daemon.create_pool(size=GIB // 4)
        self.daemon.create_volume("filler", GIB)
        self.daemon.create_volume("v", 64 * MIB)
        self.filler = self.daemon.attach("filler")
        self.uri = self.daemon.attach("v")["uri"]

    def begin(self, handle, offset, size=MIB, seconds=1):
        """Begins a write of letters; tells whether it was done in time."""
        data = nbd.Buffer.from_bytearray(bytearray(b"old!" * (size // 4)))
        cookie = handle.aio_pwrite(data, offset)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if handle.aio_command_completed(cookie):
                return True
            handle.poll(50)
        return False

    def fill(self):
        """Until a write is held; gives its connection."""
        handle = connected(self.filler["uri"])
        offset = 0
        while self.begin(handle, offset):
            offset += MIB
        return handle

    def connections(self):
        return sum(each["connections"] for each in self.daemon.call("attachment.list")["attachments"])

    def empty(self, handle):
        del handle
        self.daemon.call("attachment.delete", uuid=self.filler["uuid"])
        self.daemon.call("volume.delete", pool="tank", volume="filler")
        task = self.daemon.call("pool.settle", pool="tank")["task"]
        self.daemon.wait_until(
            lambda: self.daemon.call("task.get", task=task)["state"] == "done", 30)
        self.daemon.call("pool.checkpoint", pool="tank")

    def test_a_held_write_of_a_lost_client_never_lands(self):
        full = self.fill()
        self.assertEqual(self.daemon.call("pool.get", pool="tank")["held_writes"], 1)
        self.assertIn("stoa_pool_held_writes{pool=\"tank\"} 1",
                      self.daemon.call("daemon.metrics")["text"])
        lost = connected(self.uri)
        self.assertFalse(self.begin(lost, 0))
        del lost
        again = connected(self.uri)
        again.zero(MIB, 0)
        again.flush()
        self.empty(full)
        again.pwrite(b"new!" * 1024, 2 * MIB)
        time.sleep(0.5)
        self.assertEqual(again.pread(MIB, 0), bytes(MIB))
        self.assertIn("pool tank: full: writes wait", self.daemon.text())
        self.daemon.wait_until(lambda: "pool tank: has space again" in self.daemon.text(), 10)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck()

    def test_lost_clients_hold_no_places(self):
        full = self.fill()
        lost = [connected(self.uri) for _ in range(20)]
        for each in lost:
            self.assertFalse(self.begin(each, 0, seconds=0.1))
        # One asks for more than the server takes at once: it reads no further, and notices still.
        for offset in range(0, 64 * MIB, 8 * MIB):
            lost[0].aio_pwrite(nbd.Buffer.from_bytearray(bytearray(b"x" * 8 * MIB)), offset)
        lost[0].poll(100)
        self.assertEqual(self.connections(), 21)
        del lost, each
        self.daemon.wait_until(lambda: self.connections() == 1, 20)
        self.assertEqual(connected(self.uri).pread(4096, 0), bytes(4096))
        self.empty(full)


if __name__ == "__main__":
    unittest.main()
