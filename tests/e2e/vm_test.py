"""The life of virtual machines, as a user has it: one instance, few guests."""

import os
import pathlib
import unittest

from stoad import Instance, Refused, alive, wait_until


class VmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stoa = Instance()
        cls.stoa.__enter__()
        cls.stoa.make_pool()
        cls.stoa.make_image()

    @classmethod
    def tearDownClass(cls):
        cls.stoa.__exit__(None)

    def tearDown(self):
        for name in self.stoa.run("vm", "list", "-q").split():
            self.stoa.run("vm", "delete", name, "--now", "--yes")

    def test_snapshot_rollback_and_clone(self):
        self.stoa.make_vm("web")
        self.stoa.inside("web", "echo first > /mnt/file; sync")
        self.stoa.run("vm", "snapshot", "web", "monday")
        self.assertEqual(self.stoa.json("snapshot", "show", "web/monday")["status"]["consistency"],
                         "file-system")
        self.stoa.inside("web", "echo second > /mnt/file; sync")
        with self.assertRaises(Refused) as refused:
            self.stoa.run("vm", "rollback", "web", "monday", "--yes")
        self.assertIn("stop it before", refused.exception.text)
        self.stoa.run("vm", "stop", "web")
        self.assertEqual(self.stoa.state("web"), "off")
        self.stoa.run("vm", "clone", "web", "copy", "--start")
        self.stoa.run("vm", "rollback", "web", "monday", "--start", "--yes")
        read = "mkdir -p /mnt; mount /dev/vda /mnt 2>/dev/null; cat /mnt/file"
        self.stoa.wait_up("web")
        self.stoa.wait_up("copy")
        self.assertEqual(self.stoa.inside("web", read).strip(), "first")
        self.assertEqual(self.stoa.inside("copy", read).strip(), "second")
        names = [each["name"] for each in self.stoa.json("snapshot", "list")]
        self.assertTrue(any(name.startswith("before-rollback-") for name in names), names)

    def test_qemu_has_only_what_it_was_given(self):
        self.stoa.make_vm("web", wait=False)
        pid = self.stoa.pid("web")
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        self.assertIn("NoNewPrivs:\t1", status)
        self.assertIn("Seccomp:\t2", status)
        if os.getuid() == 0:
            uid = int(status.split("Uid:")[1].split()[0])
            self.assertNotEqual(uid, 0)
        run = str(self.stoa.runtime() / "vm" / self.stoa.vm("web")["id"])
        allowed = (run, "/dev/null", "/dev/kvm", "/dev/urandom", "anon_inode:", "socket:", "pipe:",
                   str(self.stoa.root / "stoad" / "images"), "/memfd:", "/dev/zero")
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(entry)
            self.assertTrue(target.startswith(allowed), f"{entry.name} -> {target}")

    def test_changes_wait_for_the_next_start_and_are_shown(self):
        self.stoa.make_vm("web", disk=False, wait=False)
        self.stoa.run("vm", "set", "web", "--memory", "192M")
        pending = self.stoa.vm("web")["live"]["pending"]
        self.assertEqual(len(pending), 1, pending)
        self.assertIn("memory", pending[0])
        self.stoa.run("vm", "restart", "web", "--force")
        self.assertEqual(self.stoa.vm("web")["live"]["pending"], [])

    def test_deleted_and_brought_back(self):
        self.stoa.make_vm("web", start=False)
        self.stoa.run("vm", "delete", "web", "--yes")
        self.stoa.make_vm("web", start=False, disk=False)
        with self.assertRaises(Refused) as refused:
            self.stoa.run("vm", "undelete", "web")
        self.assertIn("another vm is called web", refused.exception.text)
        self.stoa.run("vm", "delete", "web", "--now", "--yes")
        self.stoa.run("vm", "undelete", "web")
        self.assertEqual(self.stoa.state("web"), "off")
        self.assertEqual(len(self.stoa.vm("web")["spec"]["disks"]), 1)

    def test_a_protected_one_is_not_deleted(self):
        self.stoa.make_vm("web", "--protected", start=False, disk=False)
        with self.assertRaises(Refused) as refused:
            self.stoa.run("vm", "delete", "web", "--now", "--yes")
        self.assertIn("protected", refused.exception.text)
        self.stoa.run("vm", "set", "web", "--protected", "no")

    @unittest.skipUnless(os.getuid() == 0, "networks need root")
    def test_nothing_is_left_of_what_was_deleted(self):
        instance = self.stoa.runtime().name
        self.stoa.run("network", "create", "net0")
        for i in range(3):
            self.stoa.make_vm(f"vm{i}", "--nic", "net0", wait=False)
        pids = self.stoa.pids("qemu")
        self.assertEqual(len(pids), 3)
        for i in range(3):
            self.stoa.run("vm", "delete", f"vm{i}", "--now", "--yes")
        self.stoa.run("network", "delete", "net0", "--yes")
        self.assertFalse(any(alive(pid) for pid in pids))
        self.assertEqual(self.stoa.json("volume", "list"), [])
        self.assertEqual(list((self.stoa.runtime() / "vm").iterdir()), [])
        self.assertEqual(list((self.stoa.root / "stoad" / "vms").iterdir()), [])
        wait_until(lambda: not self.stoa.links(instance), 10, "links are gone")
        self.assertEqual(self.stoa.dnsmasq_pids(), [])
        left = [path for path in self.stoa.cgroups(instance) if "/vms/" in path.rstrip("/") + "x"
                and not path.rstrip("/").endswith("/vms")]
        self.assertEqual(left, [])

    def test_force_stop_is_at_once_and_bad_input_is_refused(self):
        self.stoa.make_vm("web", disk=False, wait=False)
        pid = self.stoa.pid("web")
        self.stoa.run("vm", "stop", "web", "--force")
        self.assertFalse(alive(pid))
        self.assertEqual(self.stoa.vm("web")["spec"]["power"], "off")
        for command, word in [
                (["vm", "create", "../x", "--image", "tiny"], "name"),
                (["vm", "create", "a", "--image", "no-such"], "no-such"),
                (["vm", "create", "web", "--image", "tiny"], "already"),
                (["vm", "create", "b", "--image", "tiny", "--memory", "16M"], "128"),
                (["vm", "create", "b", "--image", "tiny", "--memory", "4T", "--start"], "memory"),
                (["vm", "pause", "web"], "start it first")]:
            with self.assertRaises(Refused) as refused:
                self.stoa.run(*command)
            self.assertIn(word, refused.exception.text, command)
        self.assertEqual(self.stoa.run("vm", "list", "-q").split(),
                         [self.stoa.vm("web")["id"]])


if __name__ == "__main__":
    unittest.main()
