#!/usr/bin/python3
"""Stoa and its peers over NBD, on the same disk through the same client: served_bench.py BUILD

Pairs of runs, Stoa and peer in turn (A B A B); the medians of the paired ratios, with the spread
and the server's CPU. Writes BUILD/../bench/pool.json: a list of {"suite", "case", "workload",
"metric", "stoa", "peer", "peer_name", "ratio"}, a ratio above 1 meaning that Stoa is better.

Environment: STOA_BENCH_DIR (a disk; build/bench), STOA_BENCH_PAIRS (7), STOA_BENCH_SECONDS (2),
STOA_BENCH_CASES (letters of "abcdef", t for tmpfs, and s for a flush that takes 1 ms longer, which
needs root), STOA_BENCH_WORKLOADS (parts of their names, between commas; all), STOA_BENCH_GIB (2: size
of the volume).
"""

import atexit
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/release").resolve()
os.environ["STOA_BINARIES"] = str(BUILD / "src" / "apps")
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from daemon import GIB, MIB, Daemon, run  # noqa: E402

PAIRS = int(os.environ.get("STOA_BENCH_PAIRS", "7"))
SECONDS = float(os.environ.get("STOA_BENCH_SECONDS", "2"))
CASES = os.environ.get("STOA_BENCH_CASES", "abcdefts")
SIZE = int(os.environ.get("STOA_BENCH_GIB", "2")) * GIB
OUT = BUILD.parent / "bench"

# name: fio's arguments. Sequential rows come before random ones, which age the volume.
WORKLOADS = {
    "seq write 1M": ["--rw=write", "--bs=1M", "--iodepth=4"],
    "seq read 1M": ["--rw=read", "--bs=1M", "--iodepth=4"],
    "64k mixed 70/30": ["--rw=randrw", "--rwmixread=70", "--bs=64k", "--iodepth=16"],
    "4k read qd1": ["--rw=randread", "--bs=4k", "--iodepth=1"],
    "4k read qd32": ["--rw=randread", "--bs=4k", "--iodepth=32"],
    "4k write qd1": ["--rw=randwrite", "--bs=4k", "--iodepth=1"],
    "4k write qd32": ["--rw=randwrite", "--bs=4k", "--iodepth=32"],
    "4k write+flush qd1": ["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"],
    "4k write+flush 8 jobs": ["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1",
                              "--numjobs=8", "--group_reporting"],
}
RANDOM_WRITE = WORKLOADS["4k write qd32"]
WANTED = os.environ.get("STOA_BENCH_WORKLOADS", "").split(",")
WORKLOADS = {name: how for name, how in WORKLOADS.items() if any(each in name for each in WANTED)}


def fio(uri, arguments, seconds=SECONDS):
    """Operations and bytes a second."""
    out = run("fio", "--name=bench", "--ioengine=nbd", f"--uri={uri}", f"--size={SIZE}",
              "--time_based", f"--runtime={seconds}", "--randrepeat=0", "--output-format=json",
              *arguments)
    job = json.loads(out[out.index("{"):])["jobs"][0]
    return (job["read"]["iops"] + job["write"]["iops"],
            job["read"]["bw_bytes"] + job["write"]["bw_bytes"])


def fill(uri):
    run("fio", "--name=fill", "--ioengine=nbd", f"--uri={uri}", f"--size={SIZE}", "--rw=write",
        "--bs=1M", "--iodepth=4")


def write_random(path, size):
    """Not zeros: a virtual disk may not keep them."""
    run("dd", "if=/dev/urandom", f"of={path}", "bs=4M", f"count={size // (4 * MIB)}", "conv=fsync")


class SlowFlush:
    """A file in memory whose flush takes 1 ms longer (slow_flush.py)."""

    def __init__(self, name, size):
        self.directory = pathlib.Path(f"/dev/shm/stoa-slow-{os.getpid()}-{name}")
        self.directory.mkdir()
        self.path = self.directory / "disk.img"
        self.path.touch()
        write_random(self.directory / "backing", size)
        self.process = subprocess.Popen([sys.executable, ROOT / "bench" / "slow_flush.py",
                                         self.directory / "backing", self.path, "1"])
        atexit.register(self.close)
        while self.path.stat().st_size == 0:
            if self.process.poll() is not None:
                raise RuntimeError("slow_flush.py ended")
            time.sleep(0.01)

    def close(self):
        atexit.unregister(self.close)
        self.process.terminate()
        self.process.wait()
        subprocess.run(["rm", "-rf", self.directory], check=True)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Stoa:
    """The daemon on a pool file that is fully written before."""

    def __init__(self, base, times=6, image=None):
        self.daemon = Daemon(base=base)
        self.daemon.__enter__()
        if image is None:
            image = self.daemon.file("tank.img")
            write_random(image, times * SIZE)
        self.daemon.call("pool.create", name="tank", devices=[{"path": str(image)}])
        self.daemon.create_volume("v0", SIZE)
        self.pid = self.daemon.process.pid
        self.epoch = 0
        self.attached = {}
        self.use("v0")

    def use(self, name):
        self.volume = name
        self.epoch += 1
        self.uri = self.daemon.attach(name, epoch=self.epoch,
                                      socket_name=f"{self.epoch}.sock")["uri"]

    def snapshot(self, name):
        self.daemon.call("snapshot.create", pool="tank",
                         snapshots=[{"volume": self.volume, "name": name}])

    def drop(self, name):
        self.daemon.call("snapshot.delete", pool="tank", snapshot=f"{self.volume}@{name}")
        self.settle()

    def clone(self, name):
        self.snapshot(f"for-{name}")
        self.daemon.call("snapshot.clone", pool="tank",
                         snapshot=f"{self.volume}@for-{name}", name=name)
        self.use(name)

    def another(self, name):
        """One more volume of the pool, served; gives its URI."""
        self.daemon.create_volume(name, SIZE)
        self.epoch += 1
        attachment = self.daemon.attach(name, epoch=self.epoch, socket_name=f"{self.epoch}.sock")
        self.attached[name] = attachment["uuid"]
        return attachment["uri"]

    def forget(self, name):
        self.daemon.call("attachment.delete", uuid=self.attached.pop(name))
        self.daemon.call("volume.delete", pool="tank", volume=name)
        self.settle()

    def settle(self):
        """Waits until what was deleted is free."""
        task = self.daemon.call("pool.settle", pool="tank")["task"]
        while self.daemon.call("task.get", task=task)["state"] == "running":
            time.sleep(0.05)

    def close(self):
        self.daemon.__exit__(None)


class StorageDaemon:
    """qemu-storage-daemon with a raw file that is fully written before, or a qcow2 chain."""

    def __init__(self, base, layers=0, internal=False, direct=True, raw=None):
        self.directory = pathlib.Path(base) / f"peer-{time.monotonic_ns()}"
        self.directory.mkdir()
        self.raw = raw or self.directory / "disk.raw"
        qcow2 = layers > 0 or internal
        self.path = self.directory / "disk.qcow2" if qcow2 else self.raw
        if qcow2:
            run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=falloc",
                self.path, SIZE)
        elif raw is None:
            write_random(self.raw, SIZE)
        self.cache = f"cache.direct={'on' if direct else 'off'},aio=io_uring"
        self.format = "qcow2" if qcow2 else "raw"
        self.serve()
        if qcow2:
            fill(self.uri)
            self.stop()
            self.bottom = self.path
            self.layers, self.internal = layers, internal
            self.take_snapshots()
            self.serve()

    def take_snapshots(self):
        self.path = self.bottom
        for i in range(self.layers):
            top = self.directory / f"top{i}.qcow2"
            run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", self.path, top)
            self.path = top
        if self.internal:
            run("qemu-img", "snapshot", "-c", "s", self.path)

    def snapshot_again(self):
        """As it was right after its snapshots; an internal one is taken anew."""
        self.stop()
        if self.internal:
            run("qemu-img", "snapshot", "-d", "s", self.path)
        self.take_snapshots()
        self.serve()

    def serve(self):
        socket = self.directory / "socket"
        socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["qemu-storage-daemon", "--blockdev",
             f"driver=file,node-name=f,filename={self.path},{self.cache}",
             "--blockdev", f"driver={self.format},node-name=n,file=f",
             "--nbd-server", f"addr.type=unix,addr.path={socket}",
             "--export", "type=nbd,id=e,node-name=n,name=v,writable=on"])
        atexit.register(self.process.kill)  # also after an error
        self.pid = self.process.pid
        while not socket.exists():
            time.sleep(0.01)
        self.uri = f"nbd+unix:///v?socket={socket}"

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def close(self):
        self.stop()
        subprocess.run(["rm", "-rf", self.directory], check=True)


class Nbdkit:
    """A bare file server: what NBD itself costs."""

    def __init__(self, path):
        socket = f"{path}.nbdkit"
        self.process = subprocess.Popen(["nbdkit", "--foreground", "--unix", socket, "file", path])
        atexit.register(self.process.kill)
        self.pid = self.process.pid
        while not os.path.exists(socket):
            time.sleep(0.01)
        self.uri = f"nbd+unix:///?socket={socket}"

    def close(self):
        self.process.terminate()
        self.process.wait()


class Table:
    def __init__(self):
        self.rows = []

    def add(self, case, workload, metric, stoa, peer, peer_name, ratio, note=""):
        self.rows.append({"suite": "pool", "case": case, "workload": workload, "metric": metric,
                          "stoa": stoa, "peer": peer, "peer_name": peer_name, "ratio": ratio})
        print(f"{case:<24} {workload:<22} {metric:<6} {stoa:>10.1f} {peer:>10.1f} {peer_name:<20} "
              f"{ratio:>5.2f} {note}", flush=True)
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / "pool.json").write_text(json.dumps(self.rows, indent=1) + "\n")

    def compare(self, case, workload, stoa, peer, peer_name, prepare=lambda: None):
        """A B A B; `prepare` before each pair."""
        ratios, rates, costs = [], ([], []), ([], [])
        for _ in range(PAIRS):
            prepare()
            for side, server in enumerate((stoa, peer)):
                before = cpu_seconds(server.pid)
                rate, _ = fio(server.uri, WORKLOADS[workload])
                rates[side].append(rate)
                costs[side].append((cpu_seconds(server.pid) - before) / (rate * SECONDS) * 1e6)
            ratios.append(rates[0][-1] / rates[1][-1])
        mine, theirs = (statistics.median(each) for each in rates)
        self.add(case, workload, "iops", mine, theirs, peer_name, statistics.median(ratios),
                 f"[{min(ratios):.2f}, {max(ratios):.2f}]")
        mine, theirs = (statistics.median(each) for each in costs)
        self.add(case, workload, "cpu_us", mine, theirs, peer_name, theirs / mine)


def own(table, case, workload, reference, begin, end=lambda: None):
    """The volume that `begin` gives against one that was written once, as in (b): A B A B."""
    ratios, rates = [], ([], [])
    for _ in range(PAIRS):
        for side, uri in enumerate((begin(), reference)):
            rates[side].append(fio(uri, WORKLOADS[workload])[0])
        end()
        ratios.append(rates[0][-1] / rates[1][-1])
    mine, theirs = (statistics.median(each) for each in rates)
    table.add(case, workload, "iops", mine, theirs, "stoa (b)", statistics.median(ratios),
              f"[{min(ratios):.2f}, {max(ratios):.2f}]")


def derived(table, base, stoa, cases):
    """(a), (c), (d), (e): what thin volumes, snapshots and clones cost."""
    reference = stoa.another("reference")
    fill(reference)
    if "a" in cases:
        for workload in [name for name in WORKLOADS if "read" not in name and "mixed" not in name]:
            own(table, "(a) fresh", workload, reference, lambda: stoa.another("fresh"),
                lambda: stoa.forget("fresh"))

    def after_a_snapshot():
        stoa.snapshot("c")
        return stoa.uri

    if "c" in cases:
        for workload in WORKLOADS:
            own(table, "(c) after a snapshot", workload, reference, after_a_snapshot,
                lambda: stoa.drop("c"))
        for options, name in [({"layers": 1}, "qsd qcow2 external"),
                              ({"internal": True}, "qsd qcow2 internal")]:
            if "4k write qd32" in WORKLOADS:
                peer = StorageDaemon(base, **options)
                stoa.snapshot("c")

                def snapshot_both():
                    stoa.drop("c")
                    stoa.snapshot("c")
                    peer.snapshot_again()

                table.compare("(c) after a snapshot", "4k write qd32", stoa, peer, name,
                              snapshot_both)
                stoa.drop("c")
                peer.close()
    if "d" in cases:
        for i in range(10):
            stoa.clone(f"d{i}")
            fio(stoa.uri, RANDOM_WRITE, 0.5)
        for workload in WORKLOADS:
            own(table, "(d) clone of depth 10", workload, reference, lambda: stoa.uri)
    if "e" in cases:
        for i in range(100):
            stoa.snapshot(f"e{i}")
            fio(stoa.uri, RANDOM_WRITE, 0.1)
        for workload in WORKLOADS:
            own(table, "(e) 100 snapshots", workload, reference, lambda: stoa.uri)


def on_disk(table, base):
    """(a) to (f)."""
    raw = StorageDaemon(base)
    stoa = Stoa(base)
    try:
        fill(stoa.uri)
        if "b" in CASES:
            for workload in WORKLOADS:
                table.compare("(b) written once", workload, stoa, raw, "qsd raw")
        if set("acde") & set(CASES):
            derived(table, base, stoa, CASES)
    finally:
        stoa.close()
    if "f" in CASES:
        stoa = Stoa(base)
        try:
            fill(stoa.uri)
            run("fio", "--name=age", "--ioengine=nbd", f"--uri={stoa.uri}", f"--size={SIZE}",
                "--rw=randwrite", "--bs=4k", "--iodepth=32", "--loops=3", "--norandommap=0")
            for workload in WORKLOADS:
                table.compare("(f) aged", workload, stoa, raw, "qsd raw")
        finally:
            stoa.close()
    raw.close()


def in_memory(table):
    """(t): on tmpfs, where nothing but the servers costs."""
    stoa, raw = Stoa("/dev/shm", times=3), StorageDaemon("/dev/shm", direct=False)
    bare = Nbdkit(raw.raw)
    try:
        fill(stoa.uri)
        for workload in [name for name in WORKLOADS if "qd32" in name]:
            table.compare("(t) tmpfs", workload, stoa, raw, "qsd raw")
            table.compare("(t) tmpfs", workload, stoa, bare, "nbdkit file")
    finally:
        stoa.close()
        bare.close()
        raw.close()


def slow_flush(table, base):
    """(s): what a flush costs is the device's; how many writes share one is the server's."""
    disks = [SlowFlush("stoa", 3 * SIZE), SlowFlush("raw", SIZE)]
    stoa, raw = Stoa(base, image=disks[0].path), StorageDaemon(base, raw=disks[1].path)
    try:
        fill(stoa.uri)
        for workload in [name for name in WORKLOADS if "flush" in name]:
            table.compare("(s) flush of 1 ms", workload, stoa, raw, "qsd raw")
    finally:
        stoa.close()
        raw.close()
        for disk in disks:
            disk.close()


def main():
    base = os.environ.get("STOA_BENCH_DIR", str(OUT))
    pathlib.Path(base).mkdir(parents=True, exist_ok=True)
    table = Table()
    if set("abcdef") & set(CASES):
        on_disk(table, base)
    if "t" in CASES:
        in_memory(table)
    if "s" in CASES:
        slow_flush(table, base)


if __name__ == "__main__":
    main()
