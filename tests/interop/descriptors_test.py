"""Clients that take all descriptors: the rest of the daemon goes on with those it kept for itself."""

import os
import resource
import time
import unittest

import nbd
from daemon import MIB, CallError, Daemon
from hostile_test import RawClient

LIMIT = 64


class DescriptorsTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())
        self.daemon.kill()
        self.daemon.start(
            preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT)))
        self.uri = self.daemon.serve(size=64 * MIB)
        self.path = self.daemon.file("v.sock")
        self.daemon.create_volume("w")

    def attachment(self):
        return self.daemon.call("attachment.list")["attachments"][0]

    def processor_seconds(self):
        with open(f"/proc/{self.daemon.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.process.pid}/fd"))

    def read_from(self, client):
        client.request(0, 0, 4096)
        self.assertEqual(client.reply(), 0)
        client.receive(4096)

    def test_the_daemon_is_told_and_tells_while_clients_take_what_they_get(self):
        first = RawClient(self.path).go()
        crowd = [RawClient(self.path) for _ in range(2 * LIMIT)]
        # Those for whom there is no room are told so: nobody waits for nothing.
        begin = time.monotonic()
        turned_away = [client for client in crowd if self.is_turned_away(client)]
        self.assertGreater(len(turned_away), LIMIT)
        self.assertLess(time.monotonic() - begin, 8)
        before = self.processor_seconds()
        time.sleep(1)
        self.assertLess(self.processor_seconds() - before, 0.2)
        self.read_from(first)
        # Its own business needs descriptors, too, and has them.
        self.daemon.create_volume("x")
        made = self.daemon.attach("w")
        other = nbd.NBD()
        with self.assertRaises(nbd.Error):
            other.connect_uri(made["uri"])
        self.assertRegex(self.daemon.call("daemon.metrics")["text"],
                         "stoa_volume_connections_refused_total{pool=\"tank\",volume=\"v\","
                         f"attachment=\".*\"}} {len(turned_away)}\n")
        for client in crowd:
            client.socket.close()
        self.daemon.wait_until(lambda: self.attachment()["connections"] <= 1, 10)
        nbd.NBD().connect_uri(made["uri"])
        self.read_from(first)
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck()

    def is_turned_away(self, client):
        client.socket.settimeout(0.5)
        try:
            return client.socket.recv(18) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def test_without_any_descriptor_left_it_waits_and_goes_on(self):
        first = RawClient(self.path).go()
        # Once before: a sanitizer that meets a type for the first time needs a descriptor itself.
        self.read_from(first)
        known = self.daemon.control()
        # The control socket takes the rest: 64 clients are more than there is room for.
        controls = []
        while self.descriptors() < LIMIT:
            controls.append(self.daemon.control())
            time.sleep(0.01)
        waiting = self.daemon.control()
        before = self.processor_seconds()
        time.sleep(1)
        self.assertLess(self.processor_seconds() - before, 0.2)
        self.read_from(first)
        with self.assertRaises(CallError) as error:
            known.call("attachment.create", pool="tank", object="w",
                       listen=f"unix:{self.daemon.file('w.sock')}")
        self.assertIn("too many open files", str(error.exception))
        self.assertEqual(len(known.call("attachment.list")["attachments"]), 1)
        for control in controls:
            control.close()
        self.assertEqual(waiting.call("daemon.info")["pid"], self.daemon.process.pid)
        waiting.call("attachment.create", pool="tank", object="w",
                     listen=f"unix:{self.daemon.file('w.sock')}")
        self.assertEqual(self.daemon.stop(), 0)
        self.daemon.fsck()


if __name__ == "__main__":
    unittest.main(verbosity=2)
