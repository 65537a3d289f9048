"""kill -9 of the daemon under guests that reconnect and go on: nothing acknowledged is lost."""

import os
import random
import shutil
import time
import unittest

from client import Guest
from daemon import BLOCKD, MIB, Daemon

KILLS = int(os.environ.get("STOA_KILLS", "10"))
GUESTS = 4
BLOCKS = 2048


class KillTest(unittest.TestCase):
    def run_guests(self, daemon, uri, interrupt, count):
        guests = [Guest(uri, i * BLOCKS, BLOCKS, i) for i in range(GUESTS)]
        for guest in guests:
            guest.start()
        chance = random.Random(1)
        for number in range(count):
            time.sleep(chance.uniform(0.05, 0.5))
            before = sum(guest.acknowledged for guest in guests)
            interrupt(number)
            # Each time they get on again by themselves.
            daemon.wait_until(
                lambda b=before: sum(g.acknowledged for g in guests) > b + 20, 60)
        for guest in guests:
            guest.finish()
        self.assertGreater(sum(guest.reconnects for guest in guests), 0)
        for guest in guests:
            guest.check()
        return guests

    def test_nothing_acknowledged_is_lost_flushed_or_not(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=GUESTS * BLOCKS * 4096)

            def interrupt(_):
                daemon.kill()
                daemon.start(wait=False)

            guests = self.run_guests(daemon, uri, interrupt, KILLS)
            self.assertEqual(daemon.stop(), 0)
            daemon.fsck()
            # Once more from the devices alone.
            daemon.start()
            for guest in guests:
                guest.check()

    def test_an_upgrade_under_load_is_a_pause(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=GUESTS * BLOCKS * 4096)

            def interrupt(number):
                binary = shutil.copy(BLOCKD, daemon.file(f"stoa-blockd-{number}"))
                self.assertEqual(daemon.stop(), 0)
                daemon.start(binary=binary, wait=False)

            self.run_guests(daemon, uri, interrupt, max(2, KILLS // 5))
            self.assertEqual(daemon.stop(), 0)
            daemon.fsck()

    def test_snapshots_and_clones_that_were_acknowledged_survive(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=GUESTS * BLOCKS * 4096)
            made = []

            def interrupt(number):
                daemon.call("snapshot.create", pool="tank",
                            snapshots=[{"volume": "v", "name": f"s{number}"}])
                daemon.call("snapshot.clone", pool="tank", snapshot=f"v@s{number}",
                            name=f"c{number}")
                made.append(number)
                daemon.kill()
                daemon.start()

                def is_open():
                    return daemon.call("pool.get", pool="tank")["state"] == "open"

                daemon.wait_until(is_open, 30)

            self.run_guests(daemon, uri, interrupt, 3)
            names = {s["name"] for s in daemon.call("snapshot.list", pool="tank")["snapshots"]}
            self.assertEqual(names, {f"s{n}" for n in made})
            names = {v["name"] for v in daemon.call("volume.list", pool="tank")["volumes"]}
            self.assertEqual(names, {"v"} | {f"c{n}" for n in made})
            self.assertEqual(daemon.stop(), 0)
            daemon.fsck()


if __name__ == "__main__":
    unittest.main(verbosity=2)
