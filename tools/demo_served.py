#!/usr/bin/python3
"""The part of the demo that serves volumes: demo_served.py BUILD

A daemon on a folder of its own, clients that others wrote, guests that go on while the daemon is
killed under them. Every command is printed as a user would type it.
"""

import json
import os
import pathlib
import random
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ["STOA_BINARIES"] = str(pathlib.Path(sys.argv[1]).resolve() / "src" / "apps")
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from client import Guest  # noqa: E402
from daemon import GIB, MIB, Daemon, run  # noqa: E402

GUESTS, BLOCKS, KILLS = 4, 4096, 5


def title(text):
    print(f"\n== {text}", flush=True)


def show(*command):
    print("   $ " + " ".join(shlex.quote(str(part)) for part in command), flush=True)


def say(text):
    print(f"   {text}", flush=True)


class Session:
    """Calls the daemon and prints each call."""

    def __init__(self, daemon):
        self.daemon = daemon

    def call(self, method, **params):
        show("stoa-blockd", "call", method, json.dumps(params))
        return self.daemon.call(method, **params)

    def program(self, *command):
        show(*command)
        return run(*command)


def serve(daemon):
    session = Session(daemon)
    title("A pool, a volume, and a socket that serves it")
    session.call("pool.create", name="tank",
                 devices=[{"path": daemon.file("tank.img"), "create_bytes": 2 * GIB}])
    session.call("volume.create", pool="tank", name="web", size_bytes=256 * MIB)
    made = session.call("attachment.create", pool="tank", object="web", epoch=1,
                        listen=f"unix:{daemon.file('web.sock')}")
    say(f"served at {made['uri']}")
    return session, made["uri"]


def copy(session, uri):
    title("Clients that others wrote: copy an image in, change it, ask what changed")
    image = pathlib.Path(session.daemon.file("image.raw"))
    image.write_bytes(random.Random(1).randbytes(7 * MIB) + bytes(249 * MIB))
    session.program("nbdcopy", image, uri)
    session.program("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri)
    session.call("snapshot.create", pool="tank",
                 snapshots=[{"volume": "web", "name": "before"}])
    session.program("qemu-io", "-f", "raw", uri, "-c", "write -P 7 100M 64k")
    changed = session.program("nbdinfo", "--map=stoa:changed-since=before", uri)
    for line in changed.strip().splitlines():
        say(line)
    if "65536" not in changed:
        raise AssertionError("the change is not shown")


def kill(session, uri):
    title(f"kill -9 of the daemon under {GUESTS} writing guests, {KILLS} times, between their "
          "flushes")
    daemon = session.daemon
    guests = [Guest(uri, i * BLOCKS, BLOCKS, i) for i in range(GUESTS)]
    for guest in guests:
        guest.start()
    for _ in range(KILLS):
        time.sleep(0.4)
        before = sum(guest.acknowledged for guest in guests)
        pid = daemon.process.pid
        begin = time.monotonic()
        daemon.kill()
        daemon.start(wait=False)
        daemon.wait_until(lambda b=before: sum(g.acknowledged for g in guests) > b + 20, 60)
        say(f"kill -9 {pid}: the guests wait {(time.monotonic() - begin) * 1000:.0f} ms and go on")
    for guest in guests:
        guest.finish()
    for guest in guests:
        guest.check()
    say(f"{sum(g.acknowledged for g in guests)} requests acknowledged, "
        f"{sum(len(g.content) for g in guests)} blocks read back: nothing is missing")
    return guests


def clone(session):
    title("A clone of the snapshot, at once; the older attachment cut off by a newer epoch")
    daemon = session.daemon
    begin = time.monotonic()
    session.call("snapshot.clone", pool="tank", snapshot="web@before", name="copy")
    say(f"made in {(time.monotonic() - begin) * 1000:.1f} ms")
    uri = session.call("attachment.create", pool="tank", object="copy", epoch=1,
                       listen=f"unix:{daemon.file('copy.sock')}")["uri"]
    session.program("qemu-img", "compare", "-f", "raw", "-F", "raw", daemon.file("image.raw"), uri)
    session.call("attachment.create", pool="tank", object="copy", epoch=2,
                 listen=f"unix:{daemon.file('copy-2.sock')}")
    if os.path.exists(daemon.file("copy.sock")):
        raise AssertionError("the older attachment still serves")


def finish(session, guests):
    title("An orderly stop, a check of the pool, and a new start")
    daemon = session.daemon
    show("kill", "-TERM", daemon.process.pid)
    if daemon.stop() != 0:
        raise AssertionError("the daemon did not stop well")
    session.program(daemon_fsck(), "fsck", "--data", daemon.file("tank.img"))
    daemon.start()
    for guest in guests:
        guest.check()
    say("all as it was")


def daemon_fsck():
    return pathlib.Path(os.environ["STOA_BINARIES"]) / "pool" / "stoa-pool"


def main():
    print("\nThe same engine, serving volumes over NBD.")
    with Daemon(base=os.environ.get("TMPDIR")) as daemon:
        print(f"   $ export STOA_ROOT={daemon.root}\n   $ stoa-blockd &")
        session, uri = serve(daemon)
        copy(session, uri)
        guests = kill(session, uri)
        clone(session)
        finish(session, guests)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (AssertionError, subprocess.SubprocessError) as error:
        print(f"demo: FAILED: {error}", file=sys.stderr)
        sys.exit(1)
