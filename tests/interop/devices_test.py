"""The devices of a pool: one that is late, one that was accepted as missing, one half added."""

import json
import os
import unittest

from client import connected
from daemon import MIB, CallError, Daemon


class DevicesTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())
        self.paths = [self.daemon.file("a.img"), self.daemon.file("b.img")]
        self.away = self.daemon.file("away.img")

    def create(self, count=2):
        self.daemon.call("pool.create", name="tank", devices=[
            {"path": path, "create_bytes": 256 * MIB} for path in self.paths[:count]])

    def pool(self):
        return self.daemon.call("pool.get", pool="tank")

    def state(self):
        return json.loads((self.daemon.root / "blockd" / "state.json").read_text())

    def missing(self):
        return [device["missing"] for device in self.pool()["devices"]]

    def wait_failed(self):
        self.daemon.wait_until(lambda: self.pool()["state"] == "failed", 20)
        return self.pool()["error"]

    def pool_open(self, **params):
        """It may be tried by the daemon just now."""
        def opened():
            try:
                return self.daemon.call("pool.open", devices=self.paths, **params)
            except CallError as error:
                if error.code != "already_exists":
                    raise
                return None
        self.daemon.wait_until(opened, 10)

    def test_that_one_may_be_missing_ends_when_it_is_back(self):
        self.create()
        self.assertEqual(self.daemon.stop(), 0)
        os.rename(self.paths[1], self.away)
        self.daemon.start()
        self.wait_failed()
        self.pool_open(accept_missing_devices=True)
        self.assertEqual(self.missing(), [False, True])
        self.assertEqual(self.daemon.text().count("tank: opened without device"), 1)
        # It is still away: it was accepted.
        self.daemon.kill()
        self.daemon.start()
        self.daemon.wait_open("tank")
        self.assertEqual(self.missing(), [False, True])
        self.assertEqual(self.daemon.text().count("tank: opened without device"), 2)
        # It is back, and late again: somebody is asked.
        self.assertEqual(self.daemon.stop(), 0)
        os.rename(self.away, self.paths[1])
        self.daemon.start()
        self.daemon.wait_open("tank")
        self.assertEqual(self.missing(), [False, False])
        self.daemon.wait_until(
            lambda: not self.state()["pools"][0]["accept_missing_devices"], 10)
        self.assertEqual(self.daemon.stop(), 0)
        os.rename(self.paths[1], self.away)
        self.daemon.start()
        self.wait_failed()
        os.rename(self.away, self.paths[1])
        self.daemon.wait_open("tank")
        self.assertEqual(self.missing(), [False, False])
        self.assertEqual(self.daemon.text().count("tank: opened without device"), 2)

    def test_given_again_with_all_there_none_may_be_missing_later(self):
        self.create()
        self.daemon.call("pool.close", pool="tank")
        self.daemon.call("pool.open", devices=self.paths, accept_missing_devices=True)
        self.assertFalse(self.state()["pools"][0]["accept_missing_devices"])

    def half_add(self, make):
        """As a kill between remembering a device and adding it."""
        self.create(count=1)
        self.daemon.create_volume()
        client = connected(self.daemon.attach()["uri"])
        client.pwrite(b"1" * 4096, 0)
        client.flush()
        self.daemon.kill()
        make(self.paths[1])
        state = self.state()
        state["pools"][0]["devices"].append(self.paths[1])
        (self.daemon.root / "blockd" / "state.json").write_text(json.dumps(state))
        self.daemon.start()
        self.daemon.wait_open("tank")
        self.assertEqual(len(self.pool()["devices"]), 1)
        self.daemon.wait_until(lambda: self.state()["pools"][0]["devices"] == self.paths[:1], 10)
        self.assertIn(f"{self.paths[1]}: is not of this pool", self.daemon.text())
        self.daemon.wait_serving(self.daemon.call("attachment.list")["attachments"][0]["uuid"])
        uri = f"nbd+unix:///v?socket={self.daemon.file('v.sock')}"
        self.assertEqual(connected(uri).pread(4096, 0), b"1" * 4096)
        if os.path.exists(self.paths[1]):
            self.daemon.call("pool.add_device", pool="tank", force=True,
                             device={"path": self.paths[1]})
            self.assertEqual(self.missing(), [False, False])

    def test_one_without_a_label_was_never_added(self):
        def make(path):
            with open(path, "wb") as file:
                file.truncate(256 * MIB)
        self.half_add(make)

    def test_one_whose_file_was_lost_was_never_added(self):
        self.half_add(lambda path: None)

    def test_one_that_the_others_do_not_know_was_never_added(self):
        """Its labels are written, the pool does not count it yet."""
        def make(path):
            # What another device of a pool like this one would have: taken from before it grew.
            before = self.daemon.file("before.img")
            with open(self.paths[0], "rb") as source, open(before, "wb") as copy:
                copy.write(source.read())
            self.daemon.start()
            self.daemon.wait_open("tank")
            self.daemon.call("pool.add_device", pool="tank",
                             device={"path": path, "create_bytes": 256 * MIB})
            self.daemon.kill()
            os.rename(before, self.paths[0])
            state = self.state()
            state["pools"][0]["devices"].pop()
            (self.daemon.root / "blockd" / "state.json").write_text(json.dumps(state))
        self.half_add(make)

    def test_one_that_belongs_to_it_is_not_left_out(self):
        self.create()
        self.assertEqual(self.daemon.stop(), 0)
        with open(self.paths[1], "r+b") as file:
            file.truncate(0)
            file.truncate(256 * MIB)
        self.daemon.start()
        self.assertIn(self.paths[1], self.wait_failed())
        self.assertEqual(self.state()["pools"][0]["devices"], self.paths)


if __name__ == "__main__":
    unittest.main(verbosity=2)
