"""The wall clock jumps, forwards and backwards: nothing waits longer or ends sooner for it."""

import pathlib
import time
import unittest

import nbd
from client import Guest
from daemon import MIB, Daemon
from hostile_test import RawClient

FAKETIME = pathlib.Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
NANOSECONDS = 1_000_000_000
DAY = 86400


class ClockTest(unittest.TestCase):
    def setUp(self):
        self.daemon = Daemon()
        self.clock = pathlib.Path(self.daemon.file("clock"))
        self.set_clock(0)
        # Only the daemon's own clock; the monotonic one is the kernel's, as in reality.
        self.daemon.environment.update(
            LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=str(self.clock),
            FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1")
        self.enterContext(self.daemon)

    def set_clock(self, days):
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(f"{days:+}d\n")
        fresh.rename(self.clock)
        self.offset = days * DAY

    def snapshot(self, name):
        """Has the time of the daemon's clock."""
        self.daemon.call("snapshot.create", pool="tank", snapshots=[{"volume": "v", "name": name}])
        made = self.daemon.call("snapshot.get", pool="tank", snapshot=f"v@{name}")
        wanted = (time.time() + self.offset) * NANOSECONDS
        self.assertLess(abs(made["created_ns"] - wanted), 60 * NANOSECONDS)

    def test_a_clock_that_jumps_concerns_timestamps_only(self):
        uri = self.daemon.serve(size=64 * MIB, epoch=5)
        attached = self.daemon.call("attachment.list")["attachments"][0]
        guests = [Guest(uri, number * 2048, 2048, number) for number in range(3)]
        for guest in guests:
            guest.start()
        choosing = RawClient(self.daemon.file("v.sock"))
        jumps = [0, 1, -1, 400, -4000, 4000, -1]
        for number, days in enumerate(jumps):
            self.set_clock(days)
            before = sum(guest.acknowledged for guest in guests)
            self.daemon.wait_until(
                lambda b=before: sum(g.acknowledged for g in guests) > b + 20, 10)
            self.snapshot(f"s{number}")
        # Whoever is in its handshake has its ten seconds: no more, no less.
        choosing.go()
        late = RawClient(self.daemon.file("v.sock"))
        begin = time.monotonic()
        self.set_clock(-4000)
        self.assertTrue(late.hung_up())
        self.assertTrue(9 < time.monotonic() - begin < 13)
        names = [s["name"] for s in self.daemon.call("snapshot.list", pool="tank")["snapshots"]]
        self.assertEqual(sorted(names), [f"s{number}" for number in range(len(jumps))])

        # A machine whose clock is years behind what the pool has seen.
        killed = self.daemon.process.pid
        self.daemon.kill()
        for name in [f"faketime_shm_{killed}", f"sem.faketime_sem_{killed}"]:
            pathlib.Path("/dev/shm", name).unlink(missing_ok=True)
        self.set_clock(-8000)
        self.daemon.start()
        self.daemon.wait_serving(attached["uuid"])
        for guest in guests:
            guest.finish()
            guest.check()
        self.snapshot("old")
        newer = self.daemon.attach(socket_name="w.sock", epoch=6)
        handle = nbd.NBD()
        handle.connect_uri(newer["uri"])
        handle.flush()
        self.assertLess(self.daemon.call("daemon.info")["started_ns"],
                        (time.time() - 7999 * DAY) * NANOSECONDS)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck()


if __name__ == "__main__":
    unittest.main(verbosity=2)
