"""Clients that others wrote, on real volumes: they see a disk."""

import hashlib
import json
import os
import pathlib
import subprocess
import time
import unittest

import nbd
from client import pattern
from daemon import GIB, MIB, Daemon, run


class InteropTest(unittest.TestCase):
    def test_nbdinfo_shows_what_the_export_can_do(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=64 * MIB)
            export = json.loads(run("nbdinfo", "--json", uri))["exports"][0]
            self.assertEqual(export["export-size"], 64 * MIB)
            self.assertEqual(export["export-name"], "v")
            for ability in ["can_flush", "can_fua", "can_trim", "can_zero", "can_fast_zero",
                            "can_multi_conn", "can_df", "can_cache"]:
                self.assertTrue(export[ability], ability)
            self.assertFalse(export["is_read_only"])
            listed = json.loads(run("nbdinfo", "--json", "--list", uri))["exports"]
            self.assertEqual([each["export-name"] for each in listed], ["v"])

    def test_nbdcopy_there_and_back_is_the_same(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=64 * MIB)
            source = pathlib.Path(daemon.file("source"))
            # Data, a hole, data: what the tools treat differently.
            source.write_bytes(pattern(20 * MIB) + bytes(24 * MIB) + pattern(20 * MIB))
            run("nbdcopy", source, uri)
            run("nbdcopy", uri, daemon.file("back"))
            self.assertEqual(source.read_bytes(), pathlib.Path(daemon.file("back")).read_bytes())
            extents = json.loads(run("nbdinfo", "--map", "--json", uri))
            holes = sum(e["length"] for e in extents if e["type"] == 3)
            self.assertEqual(holes, 24 * MIB)

    def test_qemu_img_converts_maps_and_compares(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=64 * MIB)
            source = daemon.file("source.raw")
            with open(source, "wb") as file:
                file.truncate(64 * MIB)
                file.seek(10 * MIB)
                file.write(pattern(5 * MIB))
            run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, uri)
            run("qemu-img", "compare", "-f", "raw", "-F", "raw", source, uri)
            mapped = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", uri))
            data = [(m["start"], m["length"]) for m in mapped if m["data"]]
            self.assertEqual(data, [(10 * MIB, 5 * MIB)])
            qcow2 = daemon.file("back.qcow2")
            run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, qcow2)
            run("qemu-img", "compare", "-f", "qcow2", "-F", "raw", qcow2, uri)

    def test_qemu_io_writes_zeroes_discards_and_flushes(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=64 * MIB)
            out = run("qemu-io", "-f", "raw", uri,
                      "-c", "write -P 0x5a 0 1M", "-c", "write -f -P 0x66 1M 64k",
                      "-c", "write -z 4k 8k", "-c", "write -z -u 128k 64k",
                      "-c", "discard 512k 64k", "-c", "flush",
                      "-c", "read -P 0x5a 0 4k", "-c", "read -P 0 4k 8k",
                      "-c", "read -P 0x5a 12k 4k", "-c", "read -P 0 128k 64k",
                      "-c", "read -P 0 512k 64k", "-c", "read -P 0x66 1M 64k",
                      "-c", "write -P 0x11 512 1024", "-c", "read -P 0x11 512 1024",
                      "-c", "read -P 0x5a 0 512", "-c", "read -P 0x5a 1536 2560")
            self.assertNotIn("ailed", out)

    def test_fio_verifies_what_it_wrote(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=128 * MIB)
            for sync in ["--fsync=0", "--fsync=8"]:
                run("fio", "--name=verify", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite",
                    "--bs=512,4k", "--bssplit=512/10:4k/60:16k/20:128k/10", "--iodepth=16",
                    "--size=128m", "--io_size=64m", "--verify=crc32c", "--do_verify=1",
                    "--verify_fatal=1", "--verify_state_save=0", sync)

    def test_a_file_system_lives_on_a_volume(self):
        for kind in ["ext4", "xfs"]:
            with self.subTest(kind), Daemon() as daemon:
                uri = daemon.serve(size=512 * MIB)
                with LoopDevice(daemon, uri) as loop:
                    run(f"mkfs.{kind}", "-q", *(["-F"] if kind == "ext4" else ["-f"]), loop)
                    mounted = pathlib.Path(daemon.file("mnt"))
                    mounted.mkdir()
                    run("mount", loop, mounted)
                    try:
                        (mounted / "big").write_bytes(pattern(40 * MIB))
                        for i in range(200):
                            (mounted / f"small{i}").write_bytes(os.urandom(i * 50))
                        digest = hashlib.sha256((mounted / "big").read_bytes()).hexdigest()
                        run("sync", "-f", mounted)
                        daemon.call("snapshot.create", pool="tank",
                                    snapshots=[{"volume": "v", "name": "live"}])
                        os.unlink(mounted / "big")
                        run("sync")
                        run("fstrim", mounted)
                    finally:
                        run("umount", mounted)
                    check = ["fsck.ext4", "-fn"] if kind == "ext4" else ["xfs_repair", "-n"]
                    run(*check, loop)
                # The snapshot was taken under a mounted file system: as after a power cut.
                daemon.call("snapshot.clone", pool="tank", snapshot="v@live", name="c")
                clone = daemon.attach("c")["uri"]
                with LoopDevice(daemon, clone) as loop:
                    run("mount", loop, mounted)
                    try:
                        self.assertEqual(
                            hashlib.sha256((mounted / "big").read_bytes()).hexdigest(), digest)
                    finally:
                        run("umount", mounted)

    def test_block_status_tells_what_changed_since_a_snapshot(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=64 * MIB)
            run("qemu-io", "-f", "raw", uri, "-c", "write -P 1 0 2M")
            daemon.call("snapshot.create", pool="tank",
                        snapshots=[{"volume": "v", "name": "before"}])
            run("qemu-io", "-f", "raw", uri, "-c", "write -P 2 64k 4k", "-c", "write -z 1M 64k",
                "-c", "write -P 3 32M 12k")
            handle = nbd.NBD()
            handle.add_meta_context("stoa:changed-since=before")
            handle.add_meta_context("base:allocation")
            handle.connect_uri(uri)
            seen = {}

            def take(context, offset, entries, _error):
                seen.setdefault(context, []).append((offset, list(entries)))

            handle.block_status(64 * MIB, 0, take)
            changed, at = [], 0
            (_, entries), = seen["stoa:changed-since=before"]
            for length, flags in zip(entries[::2], entries[1::2]):
                if flags:
                    changed.append((at, length, flags))
                at += length
            self.assertEqual(at, 64 * MIB)
            self.assertEqual(changed, [(64 << 10, 4 << 10, 1), (MIB, 64 << 10, 3),
                                       (32 * MIB, 12 << 10, 1)])
            listed = run("nbdinfo", uri)
            self.assertIn("stoa:changed-since=before", listed)

    def test_a_snapshot_is_served_read_only(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=16 * MIB)
            run("qemu-io", "-f", "raw", uri, "-c", "write -P 7 0 1M")
            daemon.call("snapshot.create", pool="tank",
                        snapshots=[{"volume": "v", "name": "s"}])
            run("qemu-io", "-f", "raw", uri, "-c", "write -P 8 0 1M")
            snapshot = daemon.attach("v@s")
            self.assertTrue(snapshot["read_only"])
            out = run("qemu-io", "-r", "-f", "raw", snapshot["uri"], "-c", "read -P 7 0 1M")
            self.assertNotIn("ailed", out)
            handle = nbd.NBD()
            handle.set_strict_mode(0)
            handle.connect_uri(snapshot["uri"])
            self.assertTrue(handle.is_read_only())
            with self.assertRaises(nbd.Error) as refused:
                handle.pwrite(bytes(4096), 0)
            self.assertEqual(refused.exception.errno, "EPERM")

    def test_new_connections_see_the_new_size(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=16 * MIB)
            old = nbd.NBD()
            old.connect_uri(uri)
            daemon.call("volume.resize", pool="tank", volume="v", size_bytes=32 * MIB)
            new = nbd.NBD()
            new.connect_uri(uri)
            self.assertEqual((old.get_size(), new.get_size()), (16 * MIB, 32 * MIB))
            new.pwrite(b"x" * 4096, 31 * MIB)
            self.assertEqual(old.pread(4096, 0), bytes(4096))

    def test_a_flush_on_one_connection_covers_the_others(self):
        with Daemon() as daemon:
            uri = daemon.serve(size=16 * MIB)
            one, other = nbd.NBD(), nbd.NBD()
            one.connect_uri(uri)
            other.connect_uri(uri)
            one.pwrite(b"a" * 4096, 0)
            other.flush()
            commits = daemon.call("daemon.metrics")["text"]
            daemon.cut_power()
            daemon.start()
            again = Connect(daemon, uri)
            self.assertEqual(again.pread(4096, 0), b"a" * 4096, commits)


def Connect(daemon, uri):
    """A connection as soon as the volume is served again."""
    result = []

    def connected():
        handle = nbd.NBD()
        try:
            handle.connect_uri(uri)
        except nbd.Error:
            return False
        result.append(handle)
        return True

    daemon.wait_until(connected, 20)
    return result[0]


class LoopDevice:
    """A block device of the kernel over an NBD export: through FUSE and loop."""

    def __init__(self, daemon, uri):
        self.daemon = daemon
        self.uri = uri
        self.file = daemon.file(f"fuse-{time.monotonic_ns()}")

    def __enter__(self):
        pathlib.Path(self.file).touch()
        path = self.uri.split("socket=")[1]
        name = self.uri.split("///")[1].split("?")[0]
        self.process = subprocess.Popen(
            ["qemu-storage-daemon", "--blockdev",
             f"driver=nbd,node-name=n,server.type=unix,server.path={path},export={name},"
             "discard=unmap",
             "--export", f"type=fuse,id=e,node-name=n,mountpoint={self.file},writable=on"])
        self.daemon.wait_until(lambda: os.stat(self.file).st_size > 0, 20)
        # Not with direct I/O: mkfs through it is broken over any FUSE file on some kernels.
        self.loop = run("losetup", "-f", "--show", self.file).strip()
        return self.loop

    def __exit__(self, *_):
        run("losetup", "-d", self.loop)
        self.process.terminate()
        self.process.wait(20)
        subprocess.run(["umount", self.file], capture_output=True, check=False)


if __name__ == "__main__":
    unittest.main(verbosity=2)
