"""Origins: volumes whose blocks come from an NBD server that others wrote (nbdkit) or from another
Stoa, while it is there, while it is away, and after it is no longer needed."""

import os
import pathlib
import random
import signal
import subprocess
import tempfile
import threading
import time
import unittest

from certificates import make_certificates
from client import connected
from daemon import MIB, CallError, Daemon

SIZE = 32 * MIB


class Source:
    """A file of random bytes that nbdkit serves read-only on a Unix socket or with TLS on TCP."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="stoa-src-"))
        self.content = random.Random(7).randbytes(SIZE // 2) + bytes(SIZE // 2)
        (self.directory / "image").write_bytes(self.content)
        self.socket = str(self.directory / "nbd.sock")
        self.process = None

    def start(self, *filters, content=None):
        if content is not None:
            (self.directory / "image").write_bytes(content)
        pathlib.Path(self.socket).unlink(missing_ok=True)
        arguments = ["--filter=" + each for each in filters if "=" not in each]
        settings = [each for each in filters if "=" in each]
        self.process = subprocess.Popen(
            ["nbdkit", "--foreground", "--readonly", "--unix", self.socket, *arguments, "file",
             str(self.directory / "image"), *settings],
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while not os.path.exists(self.socket):
            assert time.monotonic() < end
            time.sleep(0.01)

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.kill()
        subprocess.run(["rm", "-rf", str(self.directory)], check=True)


class OriginTest(unittest.TestCase):
    def refused(self, code, daemon, method, **params):
        with self.assertRaises(CallError) as error:
            daemon.call(method, **params)
        self.assertEqual(error.exception.code, code, error.exception)
        return str(error.exception)

    def recover(self, daemon, source):
        """A volume whose blocks come from the source; gives its URI and the origin's UUID."""
        daemon.create_pool()
        origin = daemon.call("origin.create", address=f"unix:{source.socket}")
        self.assertEqual(origin["size_bytes"], SIZE)
        daemon.call("volume.create", pool="tank", name="v", origin=origin["uuid"])
        return daemon.attach("v")["uri"], origin["uuid"]

    def wait_for_task(self, daemon, task, seconds=60):
        daemon.wait_until(
            lambda: daemon.call("task.get", task=task)["state"] != "running", seconds)
        return daemon.call("task.get", task=task)

    def test_a_volume_reads_its_origin_and_keeps_what_is_written(self):
        with Daemon() as daemon, Source() as source:
            uri, origin = self.recover(daemon, source)
            guest = connected(uri)
            self.assertEqual(guest.get_size(), SIZE)
            self.assertEqual(guest.pread(MIB, 3 * MIB), source.content[3 * MIB:4 * MIB])
            guest.pwrite(b"new!" * 1024, 3 * MIB)
            # Less than a block: the rest of it comes from the origin.
            guest.pwrite(b"x" * 512, 5 * MIB + 1024)
            expected = bytearray(source.content)
            expected[3 * MIB:3 * MIB + 4096] = b"new!" * 1024
            expected[5 * MIB + 1024:5 * MIB + 1536] = b"x" * 512
            self.assertEqual(guest.pread(SIZE, 0), expected)
            self.assertIn("volume v of pool tank", self.refused(
                "in_use", daemon, "origin.delete", origin=origin))
            # Hydrated, it needs nobody.
            task = daemon.call("volume.hydrate", pool="tank", volume="v")["task"]
            done = self.wait_for_task(daemon, task)
            self.assertEqual((done["state"], done["done_bytes"]), ("done", done["total_bytes"]))
            source.kill()
            daemon.call("origin.delete", origin=origin)
            self.assertEqual(daemon.call("origin.list")["origins"], [])
            self.assertEqual(guest.pread(SIZE, 0), expected)
            # The half that reads zero takes no space.
            volume = daemon.call("volume.get", pool="tank", volume="v")
            self.assertTrue(volume["hydrated"])
            self.assertLessEqual(volume["mapped_bytes"], SIZE // 2)
            self.assertEqual(daemon.stop(), 0)
            daemon.fsck()

    def test_hydration_goes_on_after_a_crash_and_waits_for_its_source(self):
        with Daemon() as daemon, Source() as source:
            source.kill()
            source.start("rate", "rate=64M")
            uri, _ = self.recover(daemon, source)
            guest = connected(uri)
            guest.pwrite(b"mine" * 1024, 0)
            daemon.call("volume.hydrate", pool="tank", volume="v")
            time.sleep(0.5)
            daemon.kill()
            source.kill()
            daemon.start()
            daemon.wait_open("tank")
            self.assertFalse(daemon.call("volume.get", pool="tank", volume="v")["hydrated"])
            self.assertFalse(daemon.call("origin.list")["origins"][0]["connected"])
            source.start()
            daemon.wait_until(
                lambda: daemon.call("volume.get", pool="tank", volume="v")["hydrated"], 60)
            source.kill()
            self.assertEqual(connected(uri).pread(SIZE, 0),
                             b"mine" * 1024 + source.content[4096:])
            self.assertEqual(daemon.stop(), 0)
            daemon.fsck()

    def test_a_reader_waits_for_a_source_that_is_away(self):
        with Daemon() as daemon, Source() as source:
            uri, _ = self.recover(daemon, source)
            guest = connected(uri)
            source.kill()
            result = []
            reader = threading.Thread(target=lambda: result.append(guest.pread(4096, MIB)))
            reader.start()
            time.sleep(0.3)
            self.assertEqual(result, [])
            # What is held here needs no source.
            other = connected(uri)
            other.pwrite(b"here" * 1024, 2 * MIB)
            self.assertEqual(other.pread(4096, 2 * MIB), b"here" * 1024)
            source.start()
            reader.join(30)
            self.assertEqual(result, [source.content[MIB:MIB + 4096]])

    def test_stopping_does_not_wait_for_a_source_that_is_away(self):
        with Daemon() as daemon, Source() as source:
            uri, _ = self.recover(daemon, source)
            source.process.send_signal(signal.SIGSTOP)
            try:
                guest = connected(uri)
                failed = []

                def read():
                    try:
                        guest.pread(4096, MIB)
                    except Exception as error:  # pylint: disable=broad-except
                        failed.append(error)
                reader = threading.Thread(target=read)
                reader.start()
                daemon.call("volume.hydrate", pool="tank", volume="v")
                time.sleep(0.3)
                begin = time.monotonic()
                self.assertEqual(daemon.stop(), 0)
                self.assertLess(time.monotonic() - begin, 10)
                reader.join(10)
                self.assertEqual(len(failed), 1)
                daemon.fsck()
            finally:
                source.process.send_signal(signal.SIGCONT)
            # The hydration was not given up.
            daemon.start()
            daemon.wait_open("tank")
            daemon.wait_until(
                lambda: daemon.call("volume.get", pool="tank", volume="v")["hydrated"], 60)

    def test_hydration_can_be_stopped_and_begun_again(self):
        with Daemon() as daemon, Source() as source:
            source.kill()
            source.start("rate", "rate=64M")
            self.recover(daemon, source)
            task = daemon.call("volume.hydrate", pool="tank", volume="v")["task"]
            daemon.wait_until(lambda: daemon.call("task.get", task=task)["done_bytes"] > 0, 30)
            daemon.call("task.cancel", task=task)
            self.assertEqual(self.wait_for_task(daemon, task)["state"], "cancelled")
            daemon.kill()
            source.kill()
            source.start()
            daemon.start()
            daemon.wait_open("tank")
            time.sleep(0.5)
            self.assertFalse(daemon.call("volume.get", pool="tank", volume="v")["hydrated"])
            task = daemon.call("volume.hydrate", pool="tank", volume="v")["task"]
            self.assertEqual(self.wait_for_task(daemon, task)["state"], "done")

    def test_an_export_of_another_size_is_another_one(self):
        with Daemon() as daemon, Source() as source:
            self.recover(daemon, source)
            daemon.stop()
            source.kill()
            source.start(content=source.content + bytes(MIB))
            daemon.start()
            daemon.wait_until(
                lambda: daemon.call("origin.list")["origins"][0]["error"], 20)
            origin = daemon.call("origin.list")["origins"][0]
            self.assertFalse(origin["connected"])
            self.assertIn("another one", origin["error"])

    def test_what_cannot_be_an_origin_is_refused(self):
        with Daemon() as daemon, Source() as source:
            daemon.create_pool()
            nowhere = daemon.file("nowhere.sock")
            self.assertIn(nowhere, self.refused("not_found", daemon, "origin.create",
                                                address=f"unix:{nowhere}"))
            self.refused("invalid_argument", daemon, "origin.create", address="ftp:there")
            known = daemon.call("origin.create", address=f"unix:{source.socket}")
            again = daemon.call("origin.create", address=f"unix:{source.socket}",
                                uuid=known["uuid"])
            self.assertEqual(again["uuid"], known["uuid"])
            self.refused("already_exists", daemon, "origin.create", address="tcp:127.0.0.1:1",
                         uuid=known["uuid"])
            unknown = "01234567-89ab-7def-8123-456789abcdef"
            self.refused("not_found", daemon, "volume.create", pool="tank", name="w",
                         origin=unknown)
            self.refused("not_found", daemon, "origin.delete", origin=unknown)
            self.refused("invalid_argument", daemon, "volume.create", pool="tank", name="w")

    def test_a_volume_recovers_from_another_daemon_over_tls(self):
        with Daemon() as there, Daemon() as here:
            connected(there.serve()).pwrite(b"monday! " * 512, MIB)
            there.call("snapshot.create", pool="tank",
                       snapshots=[{"volume": "v", "name": "monday"}])
            make_certificates(there.root)
            attachment = there.call(
                "attachment.create", pool="tank", object="v@monday", listen="tcp:127.0.0.1:0",
                tls={"certificate_file": there.file("server-cert.pem"),
                     "key_file": there.file("server-key.pem"),
                     "client_authority_file": there.file("ca-cert.pem")})
            port = attachment["listen"].rsplit(":", 1)[1]
            here.create_pool()
            wrong = {"authority_file": there.file("ca-cert.pem"), "host": "127.0.0.1"}
            good = dict(wrong, certificate_file=there.file("client-cert.pem"),
                        key_file=there.file("client-key.pem"))
            self.refused("io", here, "origin.create", address=f"tcp:127.0.0.1:{port}", tls=wrong)
            origin = here.call("origin.create", address=f"tcp:127.0.0.1:{port}", tls=good,
                               export_name="monday")
            here.call("volume.create", pool="tank", name="copy", origin=origin["uuid"],
                      size_bytes=128 * MIB)
            guest = connected(here.attach("copy")["uri"])
            self.assertEqual(guest.pread(MIB, 100 * MIB), bytes(MIB))
            self.assertEqual(guest.pread(4096, MIB), b"monday! " * 512)


if __name__ == "__main__":
    unittest.main()
