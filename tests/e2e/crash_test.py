"""What survives the death of whom: real guests under stoad, stoa-blockd and QEMU that are killed.

The rules: docs/decisions/020-crash-rules.md."""

import os
import signal
import sqlite3
import time
import unittest

from stoad import Instance, alive, wait_until

# Counts for ever, a number a line, each flushed; an I/O error ends it with a file "failed".
WRITER = ("(n=0; while :; do n=$((n+1)); echo $n >> /mnt/numbers && sync || { touch /failed; "
          "break; }; done) >/dev/null 2>&1 </dev/null &")


class CrashTest(unittest.TestCase):
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
        if self.stoa.process.poll() is not None:
            self.stoa.start()
        for name in self.stoa.run("vm", "list", "-q").split():
            self.stoa.run("vm", "delete", name, "--now", "--yes")

    def last_number(self, name):
        return int(self.stoa.inside(name, "tail -n 1 /mnt/numbers").strip() or 0)

    def goes_on(self, name):
        """The guest writes, and had no error."""
        before = self.last_number(name)
        wait_until(lambda: self.last_number(name) > before, what="the guest writes again")
        self.assertEqual(self.stoa.inside(name, "ls /failed 2>/dev/null || true"), "")

    def test_stoad_killed_leaves_the_guest_alone_and_adopts_it(self):
        self.stoa.make_vm("web")
        self.stoa.inside("web", WRITER)
        pid = self.stoa.pid("web")
        self.stoa.kill()
        self.assertTrue(alive(pid))
        self.stoa.start()
        self.assertEqual(self.stoa.state("web"), "running")
        self.assertEqual(self.stoa.pid("web"), pid)
        self.goes_on("web")

    def test_blockd_killed_is_a_pause_for_the_guest(self):
        self.stoa.make_vm("web")
        self.stoa.inside("web", WRITER)
        for _ in range(3):
            os.kill(self.stoa.pids("blockd")[0], signal.SIGKILL)
            wait_until(lambda: self.stoa.pids("blockd"), 30, "stoa-blockd is back")
            self.goes_on("web")

    def test_both_killed_together(self):
        self.stoa.make_vm("web")
        self.stoa.inside("web", WRITER)
        pid = self.stoa.pid("web")
        os.kill(self.stoa.pids("blockd")[0], signal.SIGKILL)
        self.stoa.kill()
        self.assertTrue(alive(pid))
        self.stoa.start()
        self.assertEqual(self.stoa.pid("web"), pid)
        self.goes_on("web")

    def test_writes_that_were_acknowledged_and_not_flushed_survive_blockd(self):
        self.stoa.make_vm("web")
        # Written through, not flushed: only the acknowledgement of the disk is waited for.
        self.stoa.inside("web", "umount /mnt; dd if=/dev/urandom of=/tmp/bytes bs=4k count=256; "
                                "dd if=/tmp/bytes of=/dev/vda bs=4k oflag=direct")
        os.kill(self.stoa.pids("blockd")[0], signal.SIGKILL)
        same = self.stoa.inside("web", "dd if=/dev/vda bs=4k count=256 iflag=direct 2>/dev/null | "
                                       "cmp - /tmp/bytes && echo same")
        self.assertEqual(same.strip(), "same")

    def test_qemu_killed_is_a_crash_and_the_guest_is_started_again(self):
        self.stoa.make_vm("web")
        self.stoa.inside("web", "echo kept > /mnt/file; sync")
        pid = self.stoa.pid("web")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.stoa.state("web") == "running" and self.stoa.pid("web") != pid,
                   what="the guest runs again")
        self.assertEqual(self.stoa.vm("web")["status"]["crashes"], 1)
        self.stoa.wait_up("web")
        self.stoa.inside("web", "mount | grep -q /mnt || mount /dev/vda /mnt")
        self.assertEqual(self.stoa.inside("web", "cat /mnt/file").strip(), "kept")

    def test_qemu_killed_while_stoad_was_away_is_started_again(self):
        self.stoa.make_vm("web", disk=False)
        pid = self.stoa.pid("web")
        self.stoa.kill()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), 20, "QEMU is gone")
        self.stoa.start()
        wait_until(lambda: self.stoa.state("web") == "running" and self.stoa.pid("web") != pid,
                   what="the guest runs again")

    def test_a_guest_that_turned_itself_off_while_stoad_was_away_stays_off(self):
        self.stoa.make_vm("web", disk=False)
        self.stoa.inside("web", "(sleep 3; poweroff -f) >/dev/null 2>&1 </dev/null &")
        self.stoa.kill()
        time.sleep(8)
        self.stoa.start()
        self.stoa.wait_state("web", "off", 30)
        self.assertEqual(self.stoa.vm("web")["spec"]["power"], "off")
        time.sleep(3)
        self.assertEqual(self.stoa.state("web"), "off")

    def test_a_guest_that_turns_itself_off_is_off(self):
        self.stoa.make_vm("web", disk=False)
        self.stoa.inside("web", "(sleep 1; poweroff -f) >/dev/null 2>&1 </dev/null &")
        self.stoa.wait_state("web", "off")
        self.assertEqual(self.stoa.vm("web")["spec"]["power"], "off")

    def test_file_systems_left_frozen_are_thawed_first(self):
        self.stoa.make_vm("web")
        self.stoa.inside("web", WRITER)
        self.last_number("web")
        # A data plane that does not answer: the snapshot waits while the guest is frozen.
        blockd = self.stoa.pids("blockd")[0]
        os.kill(blockd, signal.SIGSTOP)
        try:
            self.stoa.run("vm", "snapshot", "web", "monday", "--no-wait")
            wait_until(lambda: self.stoa.vm("web")["status"]["frozen"], 30, "it is frozen")
            time.sleep(1)
            self.stoa.kill()
        finally:
            os.kill(blockd, signal.SIGCONT)
        begin = time.monotonic()
        self.stoa.start()
        wait_until(lambda: not self.stoa.vm("web")["status"]["frozen"], 5, "it is thawed")
        before = self.last_number("web")
        wait_until(lambda: self.last_number("web") > before, 5, "the guest writes again")
        print(f"frozen: writes {time.monotonic() - begin:.1f} s after stoad was started again")
        wait_until(lambda: self.stoa.json("snapshot", "list")[0]["status"]["state"] == "ready",
                   what="the snapshot is taken")

    def test_a_new_boot_of_the_host_starts_what_ran(self):
        self.stoa.make_vm("was-on", disk=False)
        self.stoa.make_vm("was-off", disk=False, start=False)
        pids = self.stoa.pids("qemu")
        self.assertEqual(self.stoa.stop(), 0)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in pids), 20, "QEMU is gone")
        boot = open("/proc/sys/kernel/random/boot_id").read().strip()
        with sqlite3.connect(self.stoa.root / "stoad" / "state.db") as state:
            state.execute("UPDATE entries SET value = replace(value, ?, ?)",
                          (boot, "00000000-0000-4000-8000-000000000000"))
        state.close()
        self.stoa.start()
        self.stoa.wait_state("was-on", "running")
        self.assertEqual(self.stoa.state("was-off"), "off")
        self.assertEqual(self.stoa.vm("was-on")["status"].get("crashes", 0), 0)


if __name__ == "__main__":
    unittest.main()
