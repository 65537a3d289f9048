"""The ring of writes that are acknowledged and not flushed: it is found again, or missed aloud."""

import json
import os
import pathlib
import shutil
import tempfile
import unittest

from client import connected
from daemon import MIB, CallError, Daemon

NIL = "00000000-0000-0000-0000-000000000000"


class RingTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())

    def other_runtime(self):
        """Another directory from the next start on; gives the one before."""
        before = self.daemon.runtime
        self.addCleanup(shutil.rmtree, before, ignore_errors=True)
        self.daemon.runtime = pathlib.Path(tempfile.mkdtemp(prefix="stoa-it-rt-", dir="/dev/shm"))
        return before

    def state(self):
        return self.daemon.root / "blockd" / "state.json"

    def write_and_kill(self):
        """Something flushed, something acknowledged only; gives the attachment."""
        client = connected(self.daemon.serve())
        client.pwrite(b"1" * 4096, 0)
        client.flush()
        client.pwrite(b"2" * 4096, MIB)
        self.daemon.kill()
        return json.loads(self.state().read_text())["attachments"][0]["uuid"]

    def read(self, offset):
        return connected(f"nbd+unix:///v?socket={self.daemon.file('v.sock')}").pread(4096, offset)

    def pool(self):
        return self.daemon.call("pool.get", pool="tank")

    def wait_failed(self):
        self.daemon.wait_until(lambda: self.pool()["state"] == "failed", 20)
        return self.pool()["error"]

    def pool_open(self, **params):
        """It may be tried by the daemon just now."""
        def opened():
            try:
                return self.daemon.call("pool.open", devices=[self.daemon.file("tank.img")],
                                        **params)
            except CallError as error:
                if error.code != "already_exists":
                    raise
                return None
        self.daemon.wait_until(opened, 10)

    def rings(self):
        return list(self.daemon.runtime.glob("*.ring"))

    def test_it_is_found_where_it_was_and_not_where_it_would_be_now(self):
        attachment = self.write_and_kill()
        before = self.other_runtime()
        for _ in range(2):
            self.daemon.start()
            self.daemon.wait_serving(attachment)
            self.assertEqual(self.read(MIB), b"2" * 4096)
            connected(f"nbd+unix:///v?socket={self.daemon.file('v.sock')}").pwrite(b"2" * 4096, MIB)
            self.daemon.kill()
        # Once closed well it moves.
        self.daemon.start()
        self.daemon.wait_serving(attachment)
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(list(before.glob("*.ring")), [])
        self.daemon.start()
        self.daemon.wait_serving(attachment)
        self.assertEqual(len(self.rings()), 1)
        self.assertEqual(self.read(MIB), b"2" * 4096)

    def test_one_that_is_gone_is_missed(self):
        attachment = self.write_and_kill()
        ring = self.rings()[0]
        ring.unlink()
        self.daemon.start()
        error = self.wait_failed()
        self.assertIn(str(ring), error)
        self.assertIn("accept_damaged", error)
        self.assertFalse(ring.exists())
        with self.assertRaises(CallError) as refused:
            self.pool_open()
        self.assertIn(str(ring), str(refused.exception))
        self.pool_open(accept_damaged=True)
        self.daemon.wait_serving(attachment)
        self.assertEqual(self.read(0), b"1" * 4096)
        self.assertIn("without the writes", self.daemon.text())
        # Asked once.
        connected(f"nbd+unix:///v?socket={self.daemon.file('v.sock')}").pwrite(b"3" * 4096, MIB)
        self.daemon.kill()
        self.daemon.start()
        self.daemon.wait_serving(attachment)
        self.assertEqual(self.read(MIB), b"3" * 4096)

    def test_one_of_another_size_is_missed_too(self):
        self.write_and_kill()
        os.truncate(self.rings()[0], 4096)
        self.daemon.start()
        self.assertIn(str(self.rings()[0]), self.wait_failed())
        self.assertEqual(self.rings()[0].stat().st_size, 4096)

    def test_after_the_host_began_anew_nobody_misses_it(self):
        attachment = self.write_and_kill()
        self.daemon.start()
        self.daemon.cut_power()
        self.daemon.start()
        self.daemon.wait_serving(attachment)
        self.assertEqual(self.read(0), b"1" * 4096)

    def test_of_a_pool_that_was_closed_well_it_is_not_missed(self):
        self.daemon.serve()
        self.assertEqual(self.daemon.stop(), 0)
        for ring in self.rings():
            ring.unlink()
        self.daemon.start()
        self.daemon.wait_open("tank")

    def test_it_is_told_when_it_is_taken_away_from_below(self):
        self.daemon.serve()
        ring = self.rings()[0]
        ring.unlink()
        self.daemon.wait_until(lambda: str(ring) in self.daemon.text(), 10)
        self.assertIn("restart the daemon", self.daemon.text())
        # Told once, and an orderly end needs no ring.
        self.assertEqual(self.daemon.stop(), 0)
        self.assertEqual(self.daemon.text().count(str(ring)), 1)
        self.daemon.start()
        self.daemon.wait_open("tank")
        self.assertTrue(ring.exists())

    def test_read_only_what_it_holds_is_not_shown_and_that_is_told(self):
        self.write_and_kill()
        image = pathlib.Path(self.daemon.file("tank.img"))
        image.rename(self.daemon.file("away.img"))
        self.daemon.start()
        self.wait_failed()
        for each in self.daemon.call("attachment.list")["attachments"]:
            self.daemon.call("attachment.delete", uuid=each["uuid"])

        def closed():
            try:
                return self.daemon.call("pool.close", pool="tank") == {}
            except CallError as error:
                if error.code != "busy":
                    raise
                return False
        self.daemon.wait_until(closed, 10)
        pathlib.Path(self.daemon.file("away.img")).rename(image)
        self.daemon.call("pool.open", devices=[str(image)], read_only=True)
        self.assertIn("not shown", self.daemon.text())
        self.daemon.call("pool.close", pool="tank")
        self.daemon.call("pool.open", devices=[str(image)])
        self.daemon.attach()
        self.assertEqual(self.read(MIB), b"2" * 4096)

    def test_a_pool_needs_a_real_uuid(self):
        with self.assertRaises(CallError) as error:
            self.daemon.call("pool.create", name="tank", uuid=NIL, devices=[
                {"path": self.daemon.file("tank.img"), "create_bytes": 256 * MIB}])
        self.assertEqual(error.exception.code, "invalid_argument")
        self.assertFalse(os.path.exists(self.daemon.file("tank.img")))


if __name__ == "__main__":
    unittest.main(verbosity=2)
