"""A host without space: below a pool, writes wait; below the daemon's root, changes are refused."""

import json
import os
import subprocess
import threading
import time
import unittest

import nbd
from client import pattern
from daemon import BLOCKD, GIB, MIB, CallError, Daemon, Mounted


class Writer(threading.Thread):
    """Writes blocks of 1 MiB one after the other, and knows which were acknowledged."""

    def __init__(self, uri, count):
        super().__init__(daemon=True)
        self.uri = uri
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.blocks = [pattern(MIB, seed) for seed in range(count)]
        self.acknowledged = 0
        self.failure = None

    def run(self):
        try:
            for number, block in enumerate(self.blocks):
                self.handle.pwrite(block, number * MIB)
                self.acknowledged += 1
        except nbd.Error as error:
            self.failure = error

    def check(self, handle):
        for number, block in enumerate(self.blocks[:self.acknowledged]):
            assert handle.pread(MIB, number * MIB) == block, number


class FullBelowPoolTest(unittest.TestCase):
    """A sparse pool file on a small file system that somebody else fills."""

    def setUp(self):
        self.small = self.enterContext(Mounted("tmpfs", size_mib=48))
        self.daemon = self.enterContext(Daemon())
        self.pool = str(self.small / "pool.img")
        self.daemon.create_pool(path=self.pool, size=256 * MIB)
        self.daemon.create_volume(size=96 * MIB)
        self.attached = self.daemon.attach()
        self.uri = self.attached["uri"]

    def fill(self, leave=4 * MIB):
        """Leaves so much; gives the file that takes the rest."""
        status = os.statvfs(self.small)
        ballast = self.small / "ballast"
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - leave)
        return ballast

    def host_is_full(self):
        return self.daemon.call("pool.get", pool="tank")["devices"][0]["host_full"]

    def connect(self):
        handle = nbd.NBD()
        handle.connect_uri(self.uri)
        return handle

    def metric(self, name):
        for line in self.daemon.call("daemon.metrics")["text"].splitlines():
            if line.startswith(name + "{"):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {name}")

    def test_writes_are_held_reads_go_on_and_space_lets_all_go_on(self):
        ballast = self.fill()
        writer = Writer(self.uri, 12)
        writer.start()
        self.daemon.wait_until(self.host_is_full, 20)
        held = writer.acknowledged
        self.assertLess(held, 12)
        time.sleep(0.5)
        self.assertEqual((writer.acknowledged, writer.failure), (held, None))
        # Who reads is not in the same boat.
        reader = self.connect()
        writer.check(reader)
        self.assertIn("is full: writes wait until it has space", self.daemon.text())
        self.assertEqual(self.metric("stoa_pool_host_full"), 1)
        ballast.unlink()
        writer.join(20)
        self.assertEqual((writer.acknowledged, writer.failure), (12, None))
        self.daemon.wait_until(lambda: not self.host_is_full(), 20)
        self.assertEqual(self.metric("stoa_pool_host_full"), 0)
        self.assertIn("waits any more", self.daemon.text())
        writer.check(reader)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck(self.pool)

    def test_stopping_waits_for_no_held_write_and_loses_nothing_acknowledged(self):
        ballast = self.fill()
        writer = Writer(self.uri, 12)
        writer.start()
        self.daemon.wait_until(self.host_is_full, 20)
        begin = time.monotonic()
        # It may end with an error: it recovers at the next start.
        self.daemon.stop(10)
        self.assertLess(time.monotonic() - begin, 5)
        writer.join(20)
        self.assertIsNotNone(writer.failure)
        # Its recovery needs space, too: it says so, and goes on by itself.
        self.daemon.start()
        self.daemon.wait_until(
            lambda: self.daemon.call("pool.get", pool="tank")["state"] == "failed", 20)
        self.assertIn("no space left", self.daemon.call("pool.get", pool="tank")["error"])
        ballast.unlink()
        self.daemon.wait_serving(self.attached["uuid"])
        writer.check(self.connect())
        self.connect().pwrite(b"x" * 4096, 90 * MIB)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck(self.pool)

    def test_killed_while_the_host_is_full_it_loses_nothing_acknowledged(self):
        ballast = self.fill()
        writer = Writer(self.uri, 12)
        writer.start()
        self.daemon.wait_until(self.host_is_full, 20)
        self.daemon.kill()
        writer.join(20)
        self.assertIsNotNone(writer.failure)
        ballast.unlink()
        self.daemon.start()
        self.daemon.wait_serving(self.attached["uuid"])
        writer.check(self.connect())
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck(self.pool)

    def test_a_pool_on_a_host_that_is_not_full_notices_nothing(self):
        self.daemon.create_pool("other")
        self.daemon.create_volume("w", pool="other")
        other = self.daemon.attach("w", pool="other")["uri"]
        ballast = self.fill()
        writer = Writer(self.uri, 12)
        writer.start()
        self.daemon.wait_until(self.host_is_full, 20)
        beside = Writer(other, 20)
        beside.start()
        beside.join(20)
        self.assertEqual((beside.acknowledged, beside.failure), (20, None))
        beside.handle.flush()
        ballast.unlink()
        writer.join(20)
        self.assertIsNone(writer.failure)


class FullRuntimeTest(unittest.TestCase):
    def test_a_pool_for_which_there_is_no_memory_is_refused_and_leaves_nothing(self):
        # A pool takes 8 MiB.
        small = self.enterContext(Mounted("tmpfs", size_mib=12))
        daemon = Daemon()
        daemon.runtime.rmdir()
        daemon.runtime = small
        with daemon:
            uri = daemon.serve()
            with self.assertRaises(CallError) as error:
                daemon.create_pool("second")
            self.assertEqual(error.exception.code, "no_space", error.exception)
            self.assertFalse(os.path.exists(daemon.file("second.img")))
            self.assertEqual(len(os.listdir(small)), 1)
            handle = nbd.NBD()
            handle.connect_uri(uri)
            handle.pwrite(b"x" * 4096, 0)
            # One that is closed gives its memory to the next.
            attached, = daemon.call("attachment.list")["attachments"]
            daemon.call("attachment.delete", uuid=attached["uuid"])
            daemon.call("pool.close", pool="tank")
            self.assertEqual(os.listdir(small), [])
            daemon.create_pool("second")
            self.assertEqual(daemon.stop(), 0)
            daemon.fsck()


class FullBelowRootTest(unittest.TestCase):
    """The state file cannot be written: what must be remembered is refused, what is served goes
    on."""

    def setUp(self):
        self.small = self.enterContext(Mounted("tmpfs", size_mib=1))
        self.daemon = self.enterContext(Daemon(base=self.small))
        # The pools lie elsewhere: only the state is on the full file system.
        self.elsewhere = self.enterContext(Mounted("tmpfs", size_mib=512))
        self.pool = str(self.elsewhere / "tank.img")
        self.daemon.create_pool(path=self.pool)
        self.daemon.create_volume()
        self.attached = self.daemon.attach(epoch=1)
        self.state = self.daemon.root / "blockd" / "state.json"
        self.before = self.state.read_bytes()

    def fill(self):
        ballast = self.small / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        return ballast

    def refused(self, method, **params):
        with self.assertRaises(CallError) as error:
            self.daemon.call(method, **params)
        self.assertEqual(error.exception.code, "no_space", error.exception)
        self.assertIn("state.json", str(error.exception))
        self.assertIn("no space left", str(error.exception))
        self.assertEqual(self.state.read_bytes(), self.before)

    def connect(self, uri=None):
        handle = nbd.NBD()
        handle.connect_uri(uri or self.attached["uri"])
        return handle

    def attachment(self, name, **more):
        return {"pool": "tank", "object": "v", "listen": f"unix:{self.daemon.file(name)}", **more}

    def test_what_cannot_be_remembered_is_refused_and_changes_nothing(self):
        handle = self.connect()
        ballast = self.fill()
        self.refused("attachment.create", **self.attachment("r.sock", read_only=True))
        self.assertFalse(os.path.exists(self.daemon.file("r.sock")))
        # Neither is what is served cut off, by a newer epoch that is refused or by a removal.
        self.refused("attachment.create", **self.attachment("w.sock", epoch=2))
        handle.pwrite(b"1" * 4096, 0)
        self.refused("attachment.delete", uuid=self.attached["uuid"])
        handle.pwrite(b"2" * 4096, 0)
        self.assertEqual(self.connect().pread(4096, 0), b"2" * 4096)
        listed = self.daemon.call("attachment.list")["attachments"]
        self.assertEqual([(each["epoch"], each["state"]) for each in listed], [(1, "serving")])
        # What needs no memory of the daemon goes on.
        self.daemon.create_volume("w")
        self.daemon.call("snapshot.create", pool="tank", snapshots=[{"volume": "v", "name": "s"}])
        ballast.unlink()
        newer = self.daemon.call("attachment.create", **self.attachment("w.sock", epoch=2))
        self.assertEqual(self.connect(newer["uri"]).pread(4096, 0), b"2" * 4096)
        self.daemon.call("attachment.delete", uuid=newer["uuid"])
        self.assertEqual(self.daemon.call("attachment.list")["attachments"], [])

    def test_pools_that_cannot_be_remembered_leave_nothing(self):
        ballast = self.fill()
        spare = str(self.elsewhere / "spare.img")
        create = {"name": "spare", "devices": [{"path": spare, "create_bytes": GIB}]}
        self.refused("pool.create", **create)
        self.assertFalse(os.path.exists(spare))
        added = {"path": str(self.elsewhere / "more.img"), "create_bytes": GIB}
        self.refused("pool.add_device", pool="tank", device=added)
        self.assertFalse(os.path.exists(added["path"]))
        self.assertEqual(len(self.daemon.call("pool.get", pool="tank")["devices"]), 1)
        self.daemon.call("attachment.list")
        ballast.unlink()
        # Nothing of what was refused is remembered with the next change.
        self.daemon.call("attachment.create", **self.attachment("r.sock", read_only=True))
        state = json.loads(self.state.read_text())
        self.assertEqual([pool["devices"] for pool in state["pools"]], [[self.pool]])
        self.daemon.call("pool.create", **create)
        self.daemon.call("pool.add_device", pool="tank", device=added)

        # A pool that is opened but cannot be remembered is not open.
        self.daemon.call("pool.close", pool="spare")
        self.before = self.state.read_bytes()
        ballast = self.fill()
        self.refused("pool.open", devices=[spare])
        names = [pool["name"] for pool in self.daemon.call("pool.list")["pools"]]
        self.assertEqual(names, ["tank"])
        self.refused("pool.close", pool=self.close_attachments(ballast))
        self.assertEqual(self.daemon.call("pool.get", pool="tank")["state"], "open")
        ballast.unlink()
        self.daemon.call("pool.open", devices=[spare])
        self.daemon.stop()
        self.daemon.fsck(self.pool, added["path"])
        self.daemon.fsck(spare)

    def close_attachments(self, ballast):
        """Of the pool "tank", whose name it gives; with space for it meanwhile."""
        ballast.unlink()
        for each in self.daemon.call("attachment.list")["attachments"]:
            self.daemon.call("attachment.delete", uuid=each["uuid"])
        self.before = self.state.read_bytes()
        self.fill()
        return "tank"

    def test_killed_meanwhile_it_comes_back_with_what_was_acknowledged(self):
        handle = self.connect()
        handle.pwrite(b"1" * 4096, 0)
        self.fill()
        self.refused("attachment.create", **self.attachment("w.sock", epoch=2))
        handle.pwrite(b"2" * 4096, 4096)
        self.daemon.kill()
        # Still full: it starts, and serves what it remembers.
        self.daemon.start()
        self.daemon.wait_serving(self.attached["uuid"])
        again = self.connect()
        self.assertEqual(again.pread(8192, 0), b"1" * 4096 + b"2" * 4096)
        (self.small / "ballast").unlink()
        self.daemon.call("attachment.create", **self.attachment("w.sock", epoch=2))
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck(self.pool)

    def test_what_cannot_be_printed_ends_nothing(self):
        with Daemon() as daemon:
            daemon.kill()
            with open("/dev/full", "wb") as full:
                daemon.log, kept = full, daemon.log
                daemon.start()
                daemon.log = kept
            uri = daemon.serve()
            self.connect(uri).pwrite(b"x" * 4096, 0)
            for arguments in (["daemon.metrics"], ["rpc.methods"], ["no.such"]):
                with open("/dev/full", "wb") as full:
                    ended = subprocess.run([BLOCKD, "--root", daemon.root, "call", *arguments],
                                           stdout=full, stderr=full, check=False, timeout=20)
                self.assertEqual(ended.returncode, 2 if arguments == ["no.such"] else 1, arguments)
            self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
