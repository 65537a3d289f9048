"""A device that goes away under a pool, or gives errors: its clients get EIO, nobody else notices,
and what was acknowledged is there when it is back."""

import pathlib
import signal
import subprocess
import threading
import unittest

import nbd
from client import pattern
from daemon import MIB, CallError, Daemon


class LossyDisk:
    """A file that is served through FUSE by another process: it gives errors while the file `fails`
    exists, and is gone when that process is."""

    def __init__(self, directory, size=192 * MIB):
        self.directory = pathlib.Path(directory)
        self.backing = self.directory / "backing.img"
        self.mountpoint = self.directory / "disk.img"
        self.socket = self.directory / "lossy.sock"
        self.fails = self.directory / "fails"
        self.processes = []
        with open(self.backing, "wb") as file:
            file.truncate(size)
        self.mountpoint.touch()

    def __enter__(self):
        self.attach()
        return self

    def __exit__(self, *_):
        self.detach()

    def attach(self):
        self.socket.unlink(missing_ok=True)
        self.start("nbdkit", "-f", "-U", self.socket, "--filter=error", "file", self.backing,
                   "error=EIO", "error-rate=100%", f"error-file={self.fails}")
        self.wait(self.socket.exists)
        self.start("qemu-storage-daemon", "--blockdev",
                   f"driver=nbd,node-name=n,server.type=unix,server.path={self.socket},discard=unmap",
                   "--export", f"type=fuse,id=e,node-name=n,mountpoint={self.mountpoint},writable=on")
        self.wait(lambda: self.mountpoint.stat().st_size > 0)

    def start(self, *command):
        self.processes.append(subprocess.Popen([str(part) for part in command],
                                               stdin=subprocess.DEVNULL))

    def wait(self, condition):
        for _ in range(1000):
            if condition():
                return
            threading.Event().wait(0.01)
        raise AssertionError("the disk does not appear")

    def hang(self, on):
        self.processes[-1].send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def detach(self):
        """All at once: as if it had been pulled out."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
            process.wait()
        self.processes = []
        subprocess.run(["umount", "--lazy", self.mountpoint], capture_output=True, check=False)


class DeviceLostTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())
        self.disk = self.enterContext(LossyDisk(self.daemon.root))
        self.lossy = str(self.disk.mountpoint)
        self.daemon.call("pool.create", name="lossy", devices=[{"path": self.lossy}])
        self.daemon.create_volume("v", pool="lossy")
        self.attached = self.daemon.attach("v", pool="lossy")
        # The other one must not notice.
        self.daemon.create_pool()
        self.daemon.create_volume("w")
        self.other_attached = self.daemon.attach("w")
        self.other = self.connect(self.other_attached["uri"])

    def connect(self, uri):
        handle = nbd.NBD()
        handle.connect_uri(uri)
        return handle

    def fails(self, operation):
        with self.assertRaises(nbd.Error) as error:
            operation()
        self.assertEqual(error.exception.errno, "EIO", error.exception)

    def pool(self):
        return self.daemon.call("pool.get", pool="lossy")

    def check_others(self):
        self.other.pwrite(b"o" * 4096, 0)
        self.other.flush()
        self.assertEqual(self.other.pread(4096, 0), b"o" * 4096)

    def metric(self, start):
        for line in self.daemon.call("daemon.metrics")["text"].splitlines():
            if line.startswith(start):
                return float(line.rsplit(" ", 1)[1])
        raise AssertionError(f"no metric {start}")

    def lose_and_find(self, lose, find):
        handle = self.connect(self.attached["uri"])
        data = pattern(MIB)
        handle.pwrite(data, 0)
        handle.flush()
        handle.pwrite(data[::-1], 8 * MIB)  # acknowledged, not flushed
        lose()
        self.fails(lambda: handle.pread(4096, 0))
        self.fails(lambda: [handle.pwrite(b"x" * 4096, 16 * MIB), handle.flush()])
        # From then on it changes nothing, and says why.
        self.daemon.wait_until(lambda: self.pool()["read_only"], 10)
        self.assertIn("could not be", self.pool()["read_only_reason"])
        self.fails(lambda: handle.pwrite(b"x" * 4096, 24 * MIB))
        self.fails(handle.flush)
        self.assertIn("pool lossy is read-only now: ", self.daemon.text())
        self.assertEqual(self.metric('stoa_pool_read_only{pool="lossy"}'), 1)
        self.assertEqual(self.metric('stoa_pool_read_only{pool="tank"}'), 0)
        self.assertGreater(
            self.metric('stoa_volume_errors_total{pool="lossy",volume="v",attachment='
                        f'"{self.attached["uuid"]}",operation="write"}}'), 0)
        with self.assertRaises(CallError) as error:
            self.daemon.create_volume("another", pool="lossy")
        self.assertIn("pool lossy is read-only: ", str(error.exception))
        self.check_others()
        find()
        handle = self.connect(self.reopen())
        self.assertEqual(handle.pread(MIB, 0), data)
        self.assertEqual(handle.pread(MIB, 8 * MIB), data[::-1])
        handle.pwrite(b"x" * 4096, 16 * MIB)
        handle.flush()
        self.check_others()
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck(self.lossy)
        self.daemon.fsck()

    def reopen(self):
        """Without a restart: the other pool's clients go on. Gives the URI."""
        self.daemon.call("attachment.delete", uuid=self.attached["uuid"])
        with self.assertRaises(CallError):  # closed, but it says that it will recover
            self.daemon.call("pool.close", pool="lossy")
        self.daemon.call("pool.open", devices=[self.lossy])
        return self.daemon.attach("v", pool="lossy")["uri"]

    def test_a_look_at_it_read_only_takes_nothing_from_what_is_not_flushed(self):
        self.connect(self.attached["uri"]).pwrite(b"1" * 4096, 0)
        self.disk.fails.touch()
        self.daemon.call("attachment.delete", uuid=self.attached["uuid"])
        with self.assertRaises(CallError):
            self.daemon.call("pool.close", pool="lossy")
        self.disk.fails.unlink()
        self.daemon.call("pool.open", devices=[self.lossy], read_only=True)
        self.daemon.call("pool.close", pool="lossy")
        self.daemon.call("pool.open", devices=[self.lossy])
        uri = self.daemon.attach("v", pool="lossy")["uri"]
        self.assertEqual(self.connect(uri).pread(4096, 0), b"1" * 4096)

    def test_errors_of_a_device_are_eio_until_the_pool_is_opened_again(self):
        self.lose_and_find(self.disk.fails.touch, self.disk.fails.unlink)

    def test_a_device_that_is_pulled_out_and_put_back(self):
        self.lose_and_find(self.disk.detach, self.disk.attach)

    def test_started_without_its_device_it_serves_it_when_it_is_back(self):
        handle = self.connect(self.attached["uri"])
        handle.pwrite(b"1" * 4096, 0)
        self.disk.detach()
        self.fails(lambda: handle.pread(4096, 0))
        self.daemon.stop()
        self.daemon.start()
        self.daemon.wait_until(lambda: self.pool()["state"] == "failed", 10)
        self.check_others_again()
        self.disk.attach()
        self.daemon.wait_serving(self.attached["uuid"])
        self.assertEqual(self.connect(self.attached["uri"]).pread(4096, 0), b"1" * 4096)

    def test_a_device_that_does_not_answer_holds_up_no_other(self):
        handle = self.connect(self.attached["uri"])
        handle.pwrite(b"1" * 4096, 0)
        handle.flush()
        self.disk.hang(True)
        waiting = threading.Thread(target=lambda: handle.pwrite(b"2" * 4096, 0), daemon=True)
        waiting.start()
        self.check_others()
        self.disk.hang(False)
        waiting.join(20)
        self.assertEqual(handle.pread(4096, 0), b"2" * 4096)
        # Neither when it is to be opened.
        self.daemon.kill()
        self.disk.hang(True)
        try:
            self.daemon.start()
            self.check_others_again()
            self.assertEqual(self.pool()["state"], "opening")
        finally:
            self.disk.hang(False)
        self.daemon.wait_serving(self.attached["uuid"])
        self.assertEqual(self.connect(self.attached["uri"]).pread(4096, 0), b"2" * 4096)
        self.assertEqual(self.daemon.stop(), 0)

    def check_others_again(self):
        self.daemon.wait_serving(self.other_attached["uuid"])
        self.other = self.connect(self.other_attached["uri"])
        self.check_others()


if __name__ == "__main__":
    unittest.main(verbosity=2)
