"""Clients that vanish without a word: the daemon notices, and keeps neither places nor memory for
them."""

import ctypes
import os
import re
import socket
import struct
import threading
import time
import unittest

import nbd
from attachment_test import make_certificates
from daemon import Daemon, run
from hostile_test import OPTION, REQUEST

CLONE_NEWNET = 0x40000000


def enter(namespace):
    """The calling thread is in that network from now on."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}", "rb") as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


class Networks:
    """Two networks with a cable between them: 192.0.2.1 here, 192.0.2.2 there."""

    def __enter__(self):
        self.here, self.there = (f"stoa-it-{os.getpid()}-{end}" for end in ["here", "there"])
        for name in [self.here, self.there]:
            run("ip", "netns", "add", name)
        run("ip", "-n", self.here, "link", "add", "cable", "type", "veth", "peer", "name", "cable",
            "netns", self.there)
        for name, address in [(self.here, "192.0.2.1/24"), (self.there, "192.0.2.2/24")]:
            run("ip", "-n", name, "address", "add", address, "dev", "cable")
            run("ip", "-n", name, "link", "set", "cable", "up")
        return self

    def __exit__(self, *_):
        for name in [self.here, self.there]:
            run("ip", "netns", "delete", name)

    def pull_the_cable(self):
        run("ip", "-n", self.there, "link", "set", "cable", "down")

    def socket_there(self):
        made = []

        def make():
            enter(self.there)
            made.append(socket.socket(socket.AF_INET))

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def timers(self):
        """What the kernel does about each connection: its timer and the seconds until then."""
        listed = run("ip", "netns", "exec", self.here, "ss", "-Htno", "state", "established")
        units = {"ms": 0.001, "sec": 1, "min": 60}
        return [(kind, int(number) * units[unit]) for kind, number, unit in
                re.findall(r"timer:\((\w+),(?:\d+min)?(\d+)(ms|sec|min)", listed)]


class VanishedClientTest(unittest.TestCase):
    def serve(self, daemon, **more):
        daemon.create_pool()
        daemon.create_volume()
        return daemon.call("attachment.create", pool="tank", object="v", **more)

    def connections(self, daemon):
        return daemon.call("attachment.list")["attachments"][0]["connections"]

    def resident_kib(self, daemon):
        with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as status:
            return int(status.read().split("VmRSS:")[1].split()[0])

    def go(self, client):
        """To the end of the handshake."""
        lines = client.makefile("rb")
        lines.read(18)
        client.sendall(struct.pack(">I", 3) + struct.pack(">QII", OPTION, 7, 6) + bytes(6))
        while struct.unpack(">QIII", (head := lines.read(20)))[2] != 1:
            lines.read(struct.unpack(">QIII", head)[3])
        return lines

    def with_vanished_clients(self, examine):
        with Networks() as networks, Daemon() as daemon:
            daemon.kill()
            daemon.start(preexec=lambda: enter(networks.here))
            self.serve(daemon, listen="tcp:192.0.2.1:10809", insecure=True)
            idle, asking = networks.socket_there(), networks.socket_there()
            for client in [idle, asking]:
                client.settimeout(20)
                client.connect(("192.0.2.1", 10809))
                lines = self.go(client)
                client.sendall(struct.pack(">IHHQQI", REQUEST, 0, 0, 7, 0, 4096))
                lines.read(16 + 4096)
            # This one is gone before its answers are there: more than fits into buffers of sockets.
            for _ in range(100):
                asking.sendall(struct.pack(">IHHQQI", REQUEST, 0, 0, 7, 0, 1 << 20))
            time.sleep(0.3)
            networks.pull_the_cable()
            self.assertEqual(self.connections(daemon), 2)
            examine(networks, daemon)

    def test_the_kernel_watches_clients_that_say_nothing(self):
        def examine(networks, _):
            timers = networks.timers()
            self.assertEqual(len(timers), 2, timers)
            self.assertIn("keepalive", [kind for kind, _ in timers])
            self.assertTrue(all(seconds <= 30 for _, seconds in timers), timers)

        self.with_vanished_clients(examine)

    @unittest.skipUnless(os.environ.get("STOA_SOAK"), "takes a minute: make soak")
    def test_clients_whose_cable_is_pulled_are_cut_off_within_a_minute(self):
        def examine(_, daemon):
            begin = time.monotonic()
            daemon.wait_until(lambda: self.connections(daemon) == 0, 80)
            print(f"\n  noticed after {time.monotonic() - begin:.0f} s")

        self.with_vanished_clients(examine)

    def test_who_does_not_finish_the_handshake_is_cut_off(self):
        with Daemon() as daemon:
            make_certificates(daemon.root)
            files = {"certificate_file": daemon.file("server-cert.pem"),
                     "key_file": daemon.file("server-key.pem")}
            created = self.serve(daemon, listen="tcp:127.0.0.1:0", tls=files)
            port = int(created["listen"].rsplit(":", 1)[1])
            begins = [
                b"",  # not even who it is
                struct.pack(">I", 3)[:2],
                # An option that ends in its middle.
                struct.pack(">I", 3) + struct.pack(">QII", OPTION, 7, 4096) + bytes(100),
                struct.pack(">I", 3) + struct.pack(">QII", OPTION, 5, 0),  # TLS that never begins
                struct.pack(">I", 3) + struct.pack(">QII", OPTION, 5, 0) + b"\x16\x03\x01\x02\x00",
            ]
            before = self.resident_kib(daemon)
            first = time.monotonic()
            clients = [socket.create_connection(("127.0.0.1", port), 20)
                       for _ in range(40) for _ in begins]
            start = time.monotonic()
            for number, client in enumerate(clients):
                client.sendall(begins[number % len(begins)])
            daemon.wait_until(lambda: self.connections(daemon) == len(clients), 8)
            self.assertLess(self.resident_kib(daemon) - before, 32 * 1024)
            # They have ten seconds.
            time.sleep(max(0, first + 8 - time.monotonic()))
            connections = self.connections(daemon)
            if time.monotonic() < first + 9:
                self.assertEqual(connections, len(clients))
            daemon.wait_until(lambda: self.connections(daemon) == 0,
                              start + 20 - time.monotonic())
            handle = nbd.NBD()
            handle.set_tls(nbd.TLS_REQUIRE)
            handle.set_tls_certificates(str(daemon.root))
            handle.connect_tcp("127.0.0.1", str(port))
            handle.pwrite(b"x" * 4096, 0)
            metrics = daemon.call("daemon.metrics")["text"]
            self.assertRegex(metrics, "stoa_volume_handshakes_failed_total{pool=\"tank\",volume="
                             f"\"v\",attachment=\".*\"}} {len(clients)}\n")


if __name__ == "__main__":
    unittest.main(verbosity=2)
