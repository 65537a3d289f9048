"""The control socket: methods, mistakes, events, background work, metrics."""

import json
import os
import random
import shutil
import socket
import subprocess
import time
import unittest

import nbd
from daemon import BLOCKD, GIB, MIB, TREE, CallError, Daemon, run

PROMTOOL = shutil.which("promtool", path=f"{TREE}/build/tools:{os.environ['PATH']}")


class ControlTest(unittest.TestCase):
    def setUp(self):
        self.daemon = self.enterContext(Daemon())

    def command(self, *arguments):
        return subprocess.run([BLOCKD, "--root", self.daemon.root, *arguments],
                              capture_output=True, text=True, check=False, timeout=30)

    def test_every_method_is_listed_and_refuses_what_it_does_not_know(self):
        methods = self.daemon.call("rpc.methods")["methods"]
        self.assertIn("volume.create", methods)
        for method in methods:
            if method == "events.subscribe":
                continue
            with self.assertRaises(CallError) as error:
                self.daemon.call(method, nonsense=1)
            self.assertEqual(error.exception.code, "invalid_argument", method)

    def test_a_life_of_volumes_snapshots_and_clones(self):
        call = self.daemon.call
        self.daemon.create_pool()
        self.daemon.create_volume("a")
        self.daemon.create_volume("b")
        made = call("snapshot.create", pool="tank", snapshots=[{"volume": "a", "name": "s"},
                                                               {"volume": "b", "name": "s"}])
        self.assertEqual(len(made["uuids"]), 2)
        call("snapshot.clone", pool="tank", snapshot="a@s", name="c", tags="owner=42")
        self.assertEqual(call("volume.get", pool="tank", volume="c")["tags"], "owner=42")
        call("volume.rename", pool="tank", volume="c", name="d")
        call("volume.resize", pool="tank", volume="d", size_bytes=128 * MIB)
        call("volume.protect", pool="tank", object="d", on=True)
        with self.assertRaises(CallError):
            call("volume.delete", pool="tank", volume="d")
        call("volume.protect", pool="tank", object="d", on=False)
        task = call("volume.flatten", pool="tank", volume="d")["task"]
        self.daemon.wait_until(lambda: call("task.get", task=task)["state"] == "done", 20)
        call("volume.rollback", pool="tank", volume="b", snapshot="b@s")
        diff = call("volume.diff", pool="tank", **{"from": "a@s"}, to="a")
        self.assertEqual((diff["ranges"], diff["finished"]), ([], True))
        self.assertEqual(call("volume.exclusive", pool="tank", object="a")["bytes"], 0)
        self.assertEqual(
            call("volume.explain", pool="tank", object="a", offset_bytes=0)["kind"], "absent")
        call("snapshot.delete", pool="tank", snapshot="a@s")
        call("volume.delete", pool="tank", volume="d")
        call("pool.checkpoint", pool="tank")
        names = [v["name"] for v in call("volume.list", pool="tank")["volumes"]]
        self.assertEqual(sorted(names), ["a", "b"])
        self.daemon.stop()
        self.daemon.fsck()

    def test_asked_twice_with_its_uuid_a_volume_is_made_once(self):
        self.daemon.create_pool()
        uuid = "01900000-0000-7000-8000-0000000000aa"
        one = self.daemon.call("volume.create", pool="tank", name="v", size_bytes=MIB, uuid=uuid)
        two = self.daemon.call("volume.create", pool="tank", name="v", size_bytes=MIB, uuid=uuid)
        self.assertEqual(one, two)
        self.assertEqual(len(self.daemon.call("volume.list", pool="tank")["volumes"]), 1)

    def refused(self, code, method, **params):
        with self.assertRaises(CallError) as error:
            self.daemon.call(method, **params)
        self.assertEqual(error.exception.code, code, error.exception)

    def test_asked_twice_with_its_uuid_a_pool_is_made_once(self):
        call = self.daemon.call
        ask = {"name": "tank", "uuid": "01900000-0000-7000-8000-0000000000ab",
               "devices": [{"path": self.daemon.file("a.img"), "create_bytes": GIB}]}
        one = call("pool.create", **ask)
        self.daemon.create_volume()
        for end in [None, self.daemon.kill]:
            if end:
                end()
                self.daemon.start()
                self.daemon.wait_open("tank")
            two = call("pool.create", **ask)
            self.assertEqual((one["uuid"], one["name"], one["devices"]),
                             (two["uuid"], two["name"], two["devices"]))
            self.assertEqual(len(call("volume.list", pool="tank")["volumes"]), 1)
        self.refused("already_exists", "pool.create", **(ask | {"name": "tonk"}))
        self.refused("already_exists", "pool.create", **(ask | {
            "devices": [{"path": self.daemon.file("b.img"), "create_bytes": GIB}]}))
        self.refused("already_exists", "pool.create", **(ask | {
            "uuid": "01900000-0000-7000-8000-0000000000ac"}))
        self.assertFalse(os.path.exists(self.daemon.file("b.img")))

    def test_a_pool_whose_creation_was_cut_short_is_made_with_force(self):
        for number, size in enumerate([0, 256 * MIB]):
            path = self.daemon.file(f"{number}.img")
            with open(path, "wb") as file:
                file.truncate(size)
            ask = {"name": f"tank{number}", "devices": [{"path": path, "create_bytes": 256 * MIB}]}
            self.refused("already_exists", "pool.create", **ask)
            self.assertEqual(os.stat(path).st_size, size)
            call = self.daemon.call("pool.create", force=True, **ask)
            self.assertEqual(call["state"], "open")
            self.assertEqual(call["devices"][0]["size_bytes"], 256 * MIB)
        # What is not what would have been made, or is in use, is left alone.
        other = self.daemon.file("other")
        with open(other, "wb") as file:
            file.write(b"x" * 4096)
        for path in [other, self.daemon.file("0.img")]:
            with self.assertRaises(CallError):
                self.daemon.call("pool.create", name="p", force=True,
                                 devices=[{"path": path, "create_bytes": 256 * MIB}])
            self.assertTrue(os.path.exists(path))
        # Neither is a file taken away that was there before.
        small = self.daemon.file("small.img")
        with open(small, "wb") as file:
            file.truncate(65536)
        self.refused("no_space", "pool.create", name="p", force=True,
                     devices=[{"path": small, "create_bytes": 65536}])
        self.assertTrue(os.path.exists(small))

    def test_a_pool_made_anew_takes_nothing_of_one_with_its_uuid(self):
        ask = {"name": "tank", "uuid": "01900000-0000-7000-8000-0000000000ab", "force": True,
               "devices": [{"path": self.daemon.file("tank.img"), "create_bytes": GIB}]}
        self.daemon.call("pool.create", **ask)
        self.daemon.create_volume()
        self.daemon.kill()  # as one that was not remembered yet
        state = json.loads((self.daemon.root / "blockd" / "state.json").read_text())
        state["pools"] = []
        (self.daemon.root / "blockd" / "state.json").write_text(json.dumps(state))
        self.daemon.start()
        self.daemon.call("pool.create", **ask)
        self.assertEqual(self.daemon.call("volume.list", pool="tank")["volumes"], [])

    def test_asked_twice_with_their_uuids_snapshots_and_clones_are_made_once(self):
        call = self.daemon.call
        self.daemon.create_pool()
        self.daemon.create_volume("a")
        self.daemon.create_volume("b")
        uuids = [f"01900000-0000-7000-8000-00000000000{n}" for n in range(1, 6)]
        specs = [{"volume": "a", "name": "s", "uuid": uuids[0]},
                 {"volume": "b", "name": "s", "uuid": uuids[1]}]
        for _ in range(2):
            self.assertEqual(call("snapshot.create", pool="tank", snapshots=specs)["uuids"],
                             uuids[:2])
        self.assertEqual(len(call("snapshot.list", pool="tank")["snapshots"]), 2)
        for wrong in [specs[:1] + [{"volume": "b", "name": "t", "uuid": uuids[2]}],
                      [specs[0] | {"name": "t"}], [specs[0] | {"volume": "b"}],
                      [{"volume": "a", "name": "s"}], [specs[0] | {"uuid": uuids[2]}]]:
            self.refused("already_exists", "snapshot.create", pool="tank", snapshots=wrong)
        clone = {"pool": "tank", "snapshot": "a@s", "name": "c", "uuid": uuids[3]}
        made = call("snapshot.clone", **clone)
        self.assertEqual(call("snapshot.clone", **clone), made)
        self.assertEqual(call("snapshot.clone", **clone, size_bytes=64 * MIB), made)
        for wrong in [{"name": "d"}, {"snapshot": "b@s"}, {"size_bytes": 128 * MIB},
                      {"uuid": uuids[4]}]:
            self.refused("already_exists", "snapshot.clone", **(clone | wrong))
        # One that has snapshots of its own by now is still what it was.
        call("snapshot.create", pool="tank", snapshots=[{"volume": "c", "name": "own"}])
        self.assertEqual(call("snapshot.clone", **clone)["uuid"], uuids[3])

    def test_a_device_given_twice_is_named_at_once(self):
        path = self.daemon.file("one.img")
        os.symlink(path, self.daemon.file("link.img"))
        specs = [{"path": path, "create_bytes": GIB}, {"path": self.daemon.file("link.img")}]
        begin = time.monotonic()
        with self.assertRaises(CallError) as error:
            self.daemon.call("pool.create", name="twice", devices=specs)
        self.assertEqual(error.exception.code, "invalid_argument")
        self.assertIn("are the same", str(error.exception))
        self.assertFalse(os.path.exists(path))
        self.daemon.call("pool.create", name="once", devices=specs[:1])
        with self.assertRaises(CallError) as error:
            self.daemon.call("pool.add_device", pool="once", device=specs[1])
        self.assertIn("are the same", str(error.exception))
        self.assertLess(time.monotonic() - begin, 4)

    def test_data_of_others_is_named_and_does_not_come_back(self):
        paths = [self.daemon.file("one.img"), self.daemon.file("two.img")]
        for path in paths:
            with open(path, "wb") as file:
                file.truncate(256 * MIB)
            run("mkfs.ext4", "-q", "-F", path)
        with self.assertRaises(CallError) as error:
            self.daemon.call("pool.create", name="p", devices=[{"path": paths[0]}])
        self.assertEqual(error.exception.code, "already_exists")
        self.assertIn("file system ext4", str(error.exception))
        self.daemon.call("pool.create", name="p", devices=[{"path": paths[0]}], force=True)
        with self.assertRaises(CallError) as error:
            self.daemon.call("pool.add_device", pool="p", device={"path": paths[1]})
        self.assertIn("file system ext4", str(error.exception))
        self.daemon.call("pool.add_device", pool="p", device={"path": paths[1]}, force=True)
        for path in paths:
            self.assertEqual(subprocess.run(["blkid", "-p", path], check=False).returncode, 2)

    def test_a_pool_that_could_not_be_made_leaves_nothing(self):
        path = self.daemon.file("small.img")
        with self.assertRaises(CallError) as error:
            self.daemon.call("pool.create", name="small",
                             devices=[{"path": path, "create_bytes": 65536}])
        self.assertEqual(error.exception.code, "no_space")
        self.assertFalse(os.path.exists(path))
        self.assertEqual(self.daemon.call("pool.list")["pools"], [])

    def test_a_pool_grows_and_gets_devices(self):
        self.daemon.create_pool(size=GIB)
        before = self.daemon.call("pool.get", pool="tank")["space"]["total_bytes"]
        os.truncate(self.daemon.file("tank.img"), 2 * GIB)
        grown = self.daemon.call("pool.grow", pool="tank")["space"]["total_bytes"]
        self.assertGreater(grown, before + GIB // 2)
        added = self.daemon.call("pool.add_device", pool="tank",
                                 device={"path": self.daemon.file("b.img"), "create_bytes": GIB})
        self.assertEqual(len(added["devices"]), 2)
        self.daemon.kill()
        self.daemon.start()
        self.daemon.wait_until(
            lambda: self.daemon.call("pool.get", pool="tank")["state"] == "open", 20)
        self.assertEqual(len(self.daemon.call("pool.get", pool="tank")["devices"]), 2)

    def test_scrub_tells_its_progress_and_can_be_cancelled(self):
        uri = self.daemon.serve(size=256 * MIB)
        run("qemu-io", "-f", "raw", uri, "-c", "write -P 1 0 64M")
        whole = self.daemon.call("pool.scrub", pool="tank")["task"]
        self.daemon.wait_until(
            lambda: self.daemon.call("task.get", task=whole)["state"] == "done", 30)
        result = self.daemon.call("task.get", task=whole)["result"]
        self.assertGreater(result["blocks_checked"], 64 * MIB // 4096 - 1)
        self.assertEqual(result["blocks_damaged"], 0)
        slow = self.daemon.call("pool.scrub", pool="tank", bytes_per_second=4 * MIB)["task"]
        self.daemon.wait_until(
            lambda: self.daemon.call("task.get", task=slow)["done_bytes"] > 0, 20)
        self.daemon.call("task.cancel", task=slow)
        self.daemon.wait_until(
            lambda: self.daemon.call("task.get", task=slow)["state"] == "cancelled", 20)

    def test_a_task_of_another_pool_keeps_none_open(self):
        uri = self.daemon.serve(size=256 * MIB)
        run("qemu-io", "-f", "raw", uri, "-c", "write -P 1 0 64M")
        for other in ["tan", "tank2"]:
            self.daemon.create_pool(other, size=256 * MIB)
        task = self.daemon.call("pool.scrub", pool="tank", bytes_per_second=MIB)["task"]
        for other in ["tan", "tank2"]:
            self.daemon.call("pool.close", pool=other)
        self.daemon.call("attachment.delete",
                         uuid=self.daemon.call("attachment.list")["attachments"][0]["uuid"])
        with self.assertRaises(CallError) as error:
            self.daemon.call("pool.close", pool="tank")
        self.assertEqual(error.exception.code, "in_use")
        self.assertIn(f"task {task} (pool.scrub tank) runs", str(error.exception))
        self.daemon.call("task.cancel", task=task)
        self.daemon.wait_until(
            lambda: self.daemon.call("task.get", task=task)["state"] == "cancelled", 20)
        self.daemon.call("pool.close", pool="tank")

    def test_events_reach_who_subscribed(self):
        control = self.daemon.control()
        control.call("events.subscribe")
        self.daemon.create_pool()
        event = control.receive()
        self.assertEqual(event["method"], "event")
        self.assertEqual(event["params"]["text"], "pool tank: created")
        control.close()

    def test_nonsense_on_the_socket_is_answered(self):
        control = self.daemon.control()
        for line, code in [(b"{\n", -32700), (b"[]\n", -32600), (b'{"id":1}\n', -32600),
                           (b'{"jsonrpc":"2.0","id":1,"method":"no"}\n', -32601)]:
            control.send(line)
            self.assertEqual(control.receive()["error"]["code"], code)
        with self.assertRaises(OSError):
            control.send(b"x" * (64 << 20))
        self.assertTrue(self.daemon.answers())

    def test_many_calls_at_once_on_one_connection(self):
        self.daemon.create_pool()
        control = self.daemon.control()
        for i in range(500):
            control.send(json.dumps({"jsonrpc": "2.0", "id": i, "method": "volume.create",
                                     "params": {"pool": "tank", "name": f"v{i}",
                                                "size_bytes": MIB}}).encode() + b"\n")
        answered = {control.receive()["id"] for _ in range(500)}
        self.assertEqual(answered, set(range(500)))
        self.assertEqual(len(self.daemon.call("volume.list", pool="tank")["volumes"]), 500)

    def test_a_pool_is_closed_beside_calls_that_use_it(self):
        daemon = self.daemon
        chance = random.Random(1)
        for number in range(20):
            device = daemon.file(f"{number}.img")
            daemon.create_pool(path=device, size=256 * MIB)
            daemon.create_volume()
            calls = [
                ("attachment.create", {"object": "v",
                                       "listen": f"unix:{daemon.file(str(number))}"}),
                ("volume.create", {"name": "w", "size_bytes": MIB}),
                ("snapshot.create", {"snapshots": [{"volume": "v", "name": "s"}]}),
                ("volume.resize", {"volume": "v", "size_bytes": 32 * MIB}),
                ("pool.add_device", {"device": {"path": daemon.file(f"{number}.more"),
                                                "create_bytes": 256 * MIB}}),
                ("pool.checkpoint", {}), ("pool.scrub", {}), ("pool.close", {})]
            calls = chance.sample(calls[:-1], chance.randrange(4)) + calls[-1:]
            chance.shuffle(calls)
            control = daemon.control()
            control.send(b"".join(
                json.dumps({"jsonrpc": "2.0", "id": method, "method": method,
                            "params": {"pool": "tank", **params}}).encode() + b"\n"
                for method, params in calls))
            answers = {answer["id"]: answer for answer in
                       (control.receive() for _ in calls)}
            control.close()
            if "error" not in answers["pool.close"]:
                daemon.fsck(*([device] if "result" not in answers.get("pool.add_device", {})
                              else [device, daemon.file(f"{number}.more")]))
                continue
            for each in daemon.call("attachment.list")["attachments"]:
                daemon.call("attachment.delete", uuid=each["uuid"])
            daemon.wait_until(lambda: all(task["state"] != "running" for task in
                                          daemon.call("task.list")["tasks"]), 20)
            daemon.call("pool.close", pool="tank")

    def test_metrics_are_what_prometheus_reads(self):
        uri = self.daemon.serve(size=64 * MIB)
        run("qemu-io", "-f", "raw", uri, "-c", "write -P 1 0 1M", "-c", "flush",
            "-c", "read -P 1 0 1M")
        self.daemon.call("pool.checkpoint", pool="tank")
        shown = self.command("call", "daemon.metrics")
        self.assertEqual(shown.returncode, 0)
        values = dict(line.rsplit(" ", 1) for line in shown.stdout.splitlines() if line[0] != "#")
        used = float(values['stoa_pool_journal_used_bytes{pool="tank"}'])
        self.assertLess(used, float(values['stoa_pool_journal_bytes{pool="tank"}']))
        self.assertGreater(float(values['stoa_pool_checkpoints_total{pool="tank"}']), 0)
        with_writes = self.daemon.call("attachment.list")["attachments"][0]["uuid"]
        self.assertIn('stoa_volume_bytes_total{pool="tank",volume="v",'
                      f'attachment="{with_writes}",operation="write"}} 1048576', shown.stdout)
        checked = subprocess.run([PROMTOOL, "check", "metrics"], input=shown.stdout,
                                 capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        # Each series once, also if two attachments serve one volume, and whatever their exports' names.
        self.daemon.call("snapshot.create", pool="tank", snapshots=[{"volume": "v", "name": "s"}])
        self.daemon.attach(read_only=True, socket_name="ro")
        self.daemon.attach("v@s", export_name="v")
        shown = self.command("call", "daemon.metrics").stdout
        series = [line.rsplit(" ", 1)[0] for line in shown.splitlines() if line[0] != "#"]
        self.assertEqual(len(series), len(set(series)))
        self.assertEqual(sum(each.startswith('stoa_volume_connections{pool="tank",volume="v",')
                             for each in series), 2)
        self.assertIn('stoa_volume_connections{pool="tank",volume="v@s",', shown)
        trace = self.command("call", "daemon.trace").stdout
        self.assertIn(" v 1 write 0 1048576 ", trace)

    def test_the_command_tells_the_ends_apart(self):
        self.assertEqual(self.command("call", "pool.list").returncode, 0)
        refused = self.command("call", "pool.get", '{"pool":"x"}')
        self.assertEqual((refused.returncode, refused.stderr),
                         (2, 'stoa-blockd: pool "x": there is none\n'))
        self.assertEqual(self.command("call", "pool.get", "{").returncode, 1)
        self.daemon.stop()
        self.assertEqual(self.command("call", "pool.list").returncode, 3)

    def test_a_log_that_cannot_be_written_stops_nobody(self):
        self.daemon.stop()
        self.daemon.process = subprocess.Popen(
            [BLOCKD, "--root", self.daemon.root, "--runtime", self.daemon.runtime],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open("/dev/full", "wb"))
        self.daemon.wait_until(self.daemon.answers, 20)
        self.daemon.create_pool()
        with open("/dev/full", "wb") as full:
            told = subprocess.run([BLOCKD, "--root", self.daemon.root, "call", "pool.list"],
                                  stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(told.returncode, 1)
        self.assertIn("stoa-blockd: ", told.stderr)

    def test_the_service_manager_hears_when_it_is_ready(self):
        self.daemon.stop()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = self.daemon.file("notify")
        manager.bind(path)
        manager.settimeout(20)
        self.daemon.environment["NOTIFY_SOCKET"] = path
        self.daemon.start()
        self.assertEqual(manager.recv(100), b"READY=1")
        self.daemon.stop()
        self.assertEqual(manager.recv(100), b"STOPPING=1")
        manager.close()

    def test_stopping_waits_for_nobody(self):
        uri = self.daemon.serve(size=GIB)
        # A full pool holds writes until there is space.
        self.daemon.create_pool("full", size=64 * MIB)
        self.daemon.create_volume("w", GIB, pool="full")
        held = nbd.NBD()
        held.connect_uri(self.daemon.attach("w", pool="full")["uri"])
        buffer = nbd.Buffer.from_bytearray(bytearray(os.urandom(MIB)))
        for i in range(100):
            held.aio_pwrite(buffer, i * MIB)
        idle = nbd.NBD()
        idle.connect_uri(uri)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            held.poll(100)
            text = self.daemon.call("daemon.metrics")["text"]
            if 'stoa_pool_held_writes_total{pool="full"} 0' not in text:
                break
        self.assertNotIn('stoa_pool_held_writes_total{pool="full"} 0', text)
        begin = time.monotonic()
        self.assertEqual(self.daemon.stop(), 0)
        self.assertLess(time.monotonic() - begin, 15)


if __name__ == "__main__":
    unittest.main(verbosity=2)
