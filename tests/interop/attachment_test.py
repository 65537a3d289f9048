"""Attachments: who serves what to whom, through crashes, epochs and mistakes."""

import json
import os
import pathlib
import stat
import subprocess
import unittest

import nbd
from certificates import make_certificates
from client import connected
from daemon import BLOCKD, GIB, MIB, CallError, Daemon, run


class AttachmentTest(unittest.TestCase):
    def refused(self, code, daemon, method, **params):
        with self.assertRaises(CallError) as error:
            daemon.call(method, **params)
        self.assertEqual(error.exception.code, code, error.exception)
        return str(error.exception)

    def test_a_runtime_directory_of_others_is_refused(self):
        with Daemon() as daemon:
            daemon.stop()
            for change in [lambda: os.chmod(daemon.runtime, 0o777),
                           lambda: (os.chmod(daemon.runtime, 0o700),
                                    os.chown(daemon.runtime, 12345, -1))]:
                change()
                daemon.start(wait=False)
                self.assertEqual(daemon.process.wait(20), 1)
                self.assertIn(f"directory {daemon.runtime}: belongs to", daemon.text())
            daemon.process = None

    def test_a_socket_that_is_listened_to_is_nobody_elses(self):
        with Daemon() as daemon, Daemon() as other:
            uri = daemon.serve()
            daemon.create_volume("w")
            path = daemon.file("v.sock")
            os.symlink(daemon.root, daemon.file("link"))
            attach = {"pool": "tank", "object": "w"}
            for own in [f"{daemon.root}/blockd/control.socket", f"{daemon.root}/blockd/new",
                        f"{daemon.root}/link/blockd/new", f"{daemon.runtime}/new"]:
                self.assertIn("own directory",
                              self.refused("invalid_argument", daemon, "attachment.create",
                                           listen=f"unix:{own}", **attach))
            for taken in [f"{daemon.root}/link/v.sock", f"{other.root}/blockd/control.socket"]:
                self.assertIn("listens", self.refused("in_use", daemon, "attachment.create",
                                                      listen=f"unix:{taken}", **attach))
            for odd in [path.replace("/v.", "//v."), path.replace("/v.", "/./v."), "relative.sock"]:
                self.assertIn("absolute", self.refused("invalid_argument", daemon,
                                                       "attachment.create",
                                                       listen=f"unix:{odd}", **attach))
            self.assertIn("insecure", self.refused("invalid_argument", daemon,
                                                   "attachment.create", listen="tcp:0.0.0.0:0",
                                                   **attach))
            connected(uri).pwrite(b"v" * 4096, 0)
            daemon.call("daemon.info")
            other.call("daemon.info")
            # The longest path there is; what others put beside it stays as it is.
            longest = daemon.file("x" * (107 - len(str(daemon.root)) - 1))
            pathlib.Path(longest + "~").write_text("mine")
            served = daemon.call("attachment.create", listen=f"unix:{longest}", **attach)
            self.assertEqual(connected(served["uri"]).pread(4096, 0), bytes(4096))
            self.assertEqual(pathlib.Path(longest + "~").read_text(), "mine")

    def test_relative_paths_are_refused(self):
        with Daemon() as daemon:
            daemon.serve()
            tls = {"certificate_file": "/c", "key_file": "/k"}
            serve = {"pool": "tank", "object": "v", "read_only": True, "listen": "tcp:127.0.0.1:0"}
            for method, params in [
                    ("pool.create", {"name": "p", "devices": [{"path": "d", "create_bytes": GIB}]}),
                    ("pool.open", {"devices": ["d"]}),
                    ("pool.add_device", {"pool": "tank", "device": {"path": "d"}}),
                    ("origin.create", {"address": "unix:o"}),
                    ("origin.create", {"address": "unix:/o", "tls": {"authority_file": "a"}}),
                    ("attachment.create", {"tls": {**tls, "certificate_file": "c"}, **serve}),
                    ("attachment.create", {"tls": {**tls, "key_file": "k"}, **serve}),
                    ("attachment.create", {"tls": {**tls, "client_authority_file": "a"},
                                           **serve})]:
                self.assertIn("absolute path",
                              self.refused("invalid_argument", daemon, method, **params))

    def test_what_cannot_be_served_cuts_off_nobody(self):
        with Daemon() as daemon:
            uri = daemon.serve(epoch=1)
            old = connected(uri)
            for listen in [f"unix:{daemon.file('missing/v.sock')}", "tcp:192.0.2.1:0"]:
                with self.assertRaises(CallError):
                    daemon.call("attachment.create", pool="tank", object="v", epoch=2,
                                listen=listen, insecure=True)
            with self.assertRaises(CallError):
                daemon.call("attachment.create", pool="tank", object="v", epoch=2,
                            listen="tcp:127.0.0.1:0",
                            tls={"certificate_file": "/nowhere", "key_file": "/nowhere"})
            old.pwrite(b"1" * 4096, 0)
            listed = daemon.call("attachment.list")["attachments"]
            self.assertEqual([(each["epoch"], each["state"]) for each in listed],
                             [(1, "serving")])

    def test_a_higher_epoch_cuts_off_the_older_one(self):
        with Daemon() as daemon:
            uri = daemon.serve(epoch=1)
            old = connected(uri)
            old.pwrite(b"1" * 4096, 0)
            newer = daemon.attach("v", socket_name="w.sock", epoch=2)
            with self.assertRaises(nbd.Error):
                old.pwrite(b"2" * 4096, 0)
            self.assertFalse(os.path.exists(daemon.file("v.sock")))
            self.assertEqual(connected(newer["uri"]).pread(4096, 0), b"1" * 4096)
            listed = daemon.call("attachment.list")["attachments"]
            self.assertEqual([each["epoch"] for each in listed], [2])
            # Also after a crash the older one does not come back.
            daemon.kill()
            daemon.start()
            daemon.wait_serving(newer["uuid"])
            listed = daemon.call("attachment.list")["attachments"]
            self.assertEqual([each["epoch"] for each in listed], [2])

    def test_the_same_or_a_lower_epoch_is_refused_and_told_by_whom(self):
        with Daemon() as daemon:
            daemon.serve(epoch=5)
            for epoch in [4, 5]:
                text = self.refused("in_use", daemon, "attachment.create", pool="tank",
                                    object="v", listen=f"unix:{daemon.file('x')}", epoch=epoch)
                self.assertIn("epoch 5", text)

    def test_an_epoch_that_was_passed_does_not_come_back(self):
        with Daemon() as daemon:
            daemon.create_pool()
            uuid = daemon.create_volume()["uuid"]
            attach = {"pool": "tank", "object": "v", "listen": f"unix:{daemon.file('v.sock')}"}

            def detach():
                for each in daemon.call("attachment.list")["attachments"]:
                    daemon.call("attachment.delete", uuid=each["uuid"])
            daemon.attach(epoch=7)
            detach()
            for end in [None, daemon.kill, daemon.stop]:
                if end:
                    end()
                    daemon.start()
                    daemon.wait_open("tank")
                for epoch in [0, 3, 6]:
                    text = self.refused("in_use", daemon, "attachment.create", epoch=epoch, **attach)
                    self.assertIn("epoch 7", text)
                # Who only reads is not concerned, and the same is fine.
                daemon.attach(epoch=3, read_only=True)
                detach()
                daemon.attach(epoch=7)
                detach()
            # One that could not be served has passed nobody, if there was nobody.
            self.refused("not_found", daemon, "attachment.create", pool="tank", object="v",
                         listen="unix:/no/such/dir/s", epoch=9)
            daemon.attach(epoch=7)
            # Nor is anybody cut off.
            self.refused("not_found", daemon, "attachment.create", pool="tank", object="v",
                         listen="unix:/no/such/dir/s", epoch=9)
            listed = daemon.call("attachment.list")["attachments"]
            self.assertEqual([each["epoch"] for each in listed], [7])
            # A volume that is gone leaves nothing.
            detach()
            daemon.call("volume.delete", pool="tank", volume="v")
            self.assertEqual(
                json.loads((daemon.root / "blockd" / "state.json").read_text())["epochs"], [])
            task = daemon.call("pool.settle", pool="tank")["task"]
            daemon.wait_until(lambda: daemon.call("task.get", task=task)["state"] == "done", 20)
            daemon.call("volume.create", pool="tank", name="v", size_bytes=64 * MIB, uuid=uuid)
            daemon.attach(epoch=1)

    def test_asked_twice_it_is_made_once(self):
        with Daemon() as daemon:
            daemon.create_pool()
            daemon.create_volume()
            uuid = "01900000-0000-7000-8000-000000000001"
            first = daemon.attach(uuid=uuid, epoch=3)
            client = connected(first["uri"])
            again = daemon.attach(uuid=uuid, epoch=3)
            self.assertEqual(first["uuid"], again["uuid"])
            client.pwrite(b"x" * 512, 0)
            self.refused("already_exists", daemon, "attachment.create", uuid=uuid, pool="tank",
                         object="v", listen=f"unix:{daemon.file('other')}", epoch=3)

    def test_the_socket_has_its_owner_and_mode(self):
        with Daemon() as daemon:
            daemon.create_pool()
            daemon.create_volume()
            daemon.attach(owner=12345, group=54321, mode="0620")
            there = os.stat(daemon.file("v.sock"))
            self.assertEqual((there.st_uid, there.st_gid, stat.S_IMODE(there.st_mode)),
                             (12345, 54321, 0o620))

    def test_it_is_served_again_after_crash_stop_and_start(self):
        with Daemon() as daemon:
            uri = daemon.serve()
            uuid = daemon.call("attachment.list")["attachments"][0]["uuid"]
            for end in [daemon.kill, daemon.stop]:
                end()
                daemon.start()
                daemon.wait_serving(uuid)
                connected(uri).pwrite(b"x" * 512, 0)

    def test_tcp_keeps_its_port(self):
        with Daemon() as daemon:
            daemon.create_pool()
            daemon.create_volume()
            made = daemon.call("attachment.create", pool="tank", object="v",
                               listen="tcp:127.0.0.1:0")
            self.assertNotIn(":0", made["listen"])
            connected(made["uri"]).pwrite(b"x" * 512, 0)
            daemon.kill()
            daemon.start()
            daemon.wait_serving(made["uuid"])
            self.assertEqual(connected(made["uri"]).pread(512, 0), b"x" * 512)

    def test_removed_it_is_gone_for_good(self):
        with Daemon() as daemon:
            uri = daemon.serve()
            uuid = daemon.call("attachment.list")["attachments"][0]["uuid"]
            client = connected(uri)
            daemon.call("attachment.delete", uuid=uuid)
            with self.assertRaises(nbd.Error):
                client.pread(512, 0)
            daemon.kill()
            daemon.start()
            self.assertEqual(daemon.call("attachment.list")["attachments"], [])
            self.refused("not_found", daemon, "attachment.delete", uuid=uuid)

    def test_what_is_in_use_is_not_taken_away(self):
        with Daemon() as daemon:
            daemon.serve()
            self.refused("in_use", daemon, "volume.delete", pool="tank", volume="v")
            text = self.refused("in_use", daemon, "pool.close", pool="tank")
            self.assertIn("v.sock", text)

    def test_mistakes_are_named(self):
        with Daemon() as daemon:
            daemon.create_pool()
            daemon.create_volume()
            listen = f"unix:{daemon.file('s')}"
            attach = {"pool": "tank", "object": "v", "listen": listen}
            for wrong, code, word in [
                    ({"pool": "tonk"}, "not_found", "tonk"),
                    ({"object": "w"}, "not_found", "w"),
                    ({"object": "v@s"}, "not_found", "v@s"),
                    ({"listen": "/tmp/x"}, "invalid_argument", "/tmp/x"),
                    ({"listen": "unix:/no/such/dir/s"}, "not_found", "/no/such/dir/s"),
                    ({"listen": "unix:/" + "x" * 120}, "invalid_argument", "107"),
                    ({"listen": f"unix:{daemon.file('tank.img')}"}, "in_use", "tank.img"),
                    ({"mode": "888"}, "invalid_argument", "888"),
                    ({"epoch": -1}, "invalid_argument", "epoch"),
                    ({"export_name": "x" * 5000}, "invalid_argument", "5000"),
                    ({"sped": 1}, "invalid_argument", "sped")]:
                text = self.refused(code, daemon, "attachment.create", **(attach | wrong))
                self.assertIn(word, text)
            self.assertEqual(daemon.call("attachment.list")["attachments"], [])
            self.assertTrue(os.path.isfile(daemon.file("tank.img")))

    def test_one_daemon_a_root_and_one_owner_a_pool(self):
        with Daemon() as daemon, Daemon() as other:
            uri = daemon.serve()
            second = subprocess.run([BLOCKD, "--root", daemon.root, "--runtime", daemon.runtime],
                                    capture_output=True, text=True, check=False, timeout=30)
            self.assertEqual(second.returncode, 1)
            holder = f"process {daemon.process.pid} ({BLOCKD} --root {daemon.root}"
            self.assertIn(f"is locked by {holder}", second.stderr)
            text = self.refused("busy", other, "pool.open", devices=[daemon.file("tank.img")])
            self.assertIn("tank.img", text)
            self.assertIn(f"is in use by {holder}", text)
            connected(uri).pwrite(b"x" * 512, 0)

    def test_a_pool_moves_to_another_daemon(self):
        with Daemon() as daemon, Daemon() as other:
            uri = daemon.serve()
            connected(uri).pwrite(b"moved" + bytes(507), 0)
            for each in daemon.call("attachment.list")["attachments"]:
                daemon.call("attachment.delete", uuid=each["uuid"])
            daemon.call("pool.close", pool="tank")
            other.call("pool.open", devices=[daemon.file("tank.img")])
            moved = other.attach()
            self.assertEqual(connected(moved["uri"]).pread(512, 0)[:5], b"moved")
            self.assertEqual(daemon.call("pool.list")["pools"], [])

    def test_a_pool_whose_device_is_away_comes_back_with_it(self):
        with Daemon() as daemon:
            uri = daemon.serve()
            uuid = daemon.call("attachment.list")["attachments"][0]["uuid"]
            daemon.stop()
            image = pathlib.Path(daemon.file("tank.img"))
            image.rename(daemon.file("away.img"))
            daemon.start()
            daemon.wait_until(lambda: daemon.call("pool.get", pool="tank")["state"] == "failed", 20)
            self.assertIn("tank.img", daemon.call("pool.get", pool="tank")["error"])
            self.assertEqual(daemon.call("attachment.get", uuid=uuid)["state"], "waiting")
            pathlib.Path(daemon.file("away.img")).rename(image)
            daemon.wait_serving(uuid)
            connected(uri).pwrite(b"x" * 512, 0)

    def test_a_damaged_state_file_is_never_overwritten(self):
        with Daemon() as daemon:
            daemon.serve()
            daemon.stop()
            state = daemon.root / "blockd" / "state.json"
            good = state.read_bytes()
            for bad, word in [(good[:100], "JSON"), (b"{}", "version"),
                              (good.replace(b'"version": 1', b'"version": 9'), "newer"),
                              (good.replace(b'"epoch"', b'"epok"'), "epok")]:
                state.write_bytes(bad)
                ended = subprocess.run(
                    [BLOCKD, "--root", daemon.root, "--runtime", daemon.runtime],
                    capture_output=True, text=True, check=False, timeout=30)
                self.assertEqual(ended.returncode, 1)
                self.assertIn(word, ended.stderr)
                self.assertEqual(state.read_bytes(), bad)

    def test_over_tls_only_those_with_a_certificate_are_served(self):
        with Daemon() as daemon:
            make_certificates(daemon.root)
            daemon.create_pool()
            daemon.create_volume()
            made = daemon.call(
                "attachment.create", pool="tank", object="v", listen="tcp:127.0.0.1:0",
                tls={"certificate_file": daemon.file("server-cert.pem"),
                     "key_file": daemon.file("server-key.pem"),
                     "client_authority_file": daemon.file("ca-cert.pem")})
            self.assertTrue(made["uri"].startswith("nbds://"))

            def client(mode, certificates):
                handle = nbd.NBD()
                handle.set_tls(mode)
                if certificates:
                    handle.set_tls_certificates(str(certificates))
                handle.connect_tcp("127.0.0.1", made["listen"].split(":")[-1])
                return handle

            for end in [daemon.kill, None]:
                good = client(nbd.TLS_REQUIRE, daemon.root)
                good.pwrite(b"secret" + bytes(4090), 0)
                self.assertEqual(good.pread(4096, 0)[:6], b"secret")
                with self.assertRaises(nbd.Error):
                    client(nbd.TLS_DISABLE, None)
                stranger = daemon.root / "stranger"
                stranger.mkdir(exist_ok=True)
                make_certificates(stranger)
                with self.assertRaises(nbd.Error):
                    client(nbd.TLS_REQUIRE, stranger)
                if end:
                    end()
                    daemon.start()
                    daemon.wait_serving(made["uuid"])
            os.unlink(daemon.file("server-key.pem"))
            self.refused("not_found", daemon, "attachment.reload_tls", uuid=made["uuid"])
            client(nbd.TLS_REQUIRE, daemon.root).pread(512, 0)

    def test_a_big_idle_pool_takes_little_memory(self):
        with Daemon() as daemon:
            daemon.create_pool(size=4096 * GIB)
            daemon.create_volume(size=1024 * GIB)
            uri = daemon.attach()["uri"]
            connected(uri).pwrite(b"x" * 4096, 512 * GIB)
            daemon.stop()
            daemon.start()
            daemon.wait_until(lambda: os.path.exists(daemon.file("v.sock")), 20)
            connected(uri).pread(4096, 0)
            status = pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text()
            resident = int(status.split("VmRSS:")[1].split()[0])
            self.assertLess(resident, 40 * 1024)


if __name__ == "__main__":
    unittest.main(verbosity=2)
