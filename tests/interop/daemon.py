"""Runs a real stoa-blockd with directories of its own, and talks to it."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
BINARIES = TREE / os.environ.get("STOA_BINARIES", "build/release/src/apps")
BLOCKD = BINARIES / "blockd" / "stoa-blockd"
POOL = BINARIES / "pool" / "stoa-pool"
MIB = 1 << 20
GIB = 1 << 30


class CallError(Exception):
    """What the daemon answers when it refuses; .code is the word of its ErrorCode."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error.get("data", {}).get("code", str(error["code"]))


class Control:
    """One connection to the control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")
        self.next_id = 1

    def send(self, data):
        self.socket.sendall(data)

    def receive(self):
        line = self.lines.readline()
        if not line:
            raise ConnectionError("the daemon has hung up")
        return json.loads(line)

    def call(self, method, **params):
        request = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}
        self.next_id += 1
        self.send(json.dumps(request).encode() + b"\n")
        while True:
            answer = self.receive()
            if answer.get("id") == request["id"]:
                break
        if "error" in answer:
            raise CallError(answer["error"])
        return answer["result"]

    def close(self):
        self.lines.close()
        self.socket.close()


class Daemon:
    """A daemon on a fresh directory; use it in a with statement."""

    def __init__(self, base=None, **environment):
        # /dev/shm: quick. Its sockets must have short paths.
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="stoa-it-", dir=base))
        self.runtime = pathlib.Path(tempfile.mkdtemp(prefix="stoa-it-rt-", dir="/dev/shm"))
        self.environment = dict(os.environ, **environment)
        self.process = None
        self.log = open(self.root / "log", "ab")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is not None:
                print(f"the daemon's log:\n{self.text()}", flush=True)
            if self.process is not None:
                self.kill()
        finally:
            self.log.close()
            shutil.rmtree(self.root, ignore_errors=True)
            shutil.rmtree(self.runtime, ignore_errors=True)

    def start(self, *options, binary=BLOCKD, wait=True, preexec=None):
        self.process = subprocess.Popen(
            [binary, "--root", self.root, "--runtime", self.runtime, *options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=self.environment, preexec_fn=preexec)
        if wait:
            self.wait_until(self.answers, 30)

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended ({self.process.returncode}):\n{self.text()}")
        try:
            # The socket of one that was killed may take connections for another moment.
            return self.call("daemon.info")["pid"] == self.process.pid
        except OSError:
            return False

    def wait_until(self, condition, seconds):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"not within {seconds} s; the daemon's log:\n{self.text()}")
            time.sleep(0.01)

    def kill(self):
        """As a power cut of this process alone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def cut_power(self):
        """As a power cut of the host: only what was flushed is left."""
        self.kill()
        for ring in self.runtime.iterdir():
            ring.unlink()
        path = self.root / "blockd" / "state.json"
        state = json.loads(path.read_text())
        for ring in state["rings"]:
            ring["boot_id"] = "the one before"
        path.write_text(json.dumps(state))

    def stop(self, seconds=20):
        """Orderly; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(seconds)
        self.process = None
        return code

    def text(self):
        return (self.root / "log").read_text(errors="replace")

    def control(self):
        return Control(self.root / "blockd" / "control.socket")

    def call(self, method, **params):
        control = self.control()
        try:
            return control.call(method, **params)
        finally:
            control.close()

    # What most tests begin with.

    def file(self, name):
        return str(self.root / name)

    def create_pool(self, name="tank", size=2 * GIB, path=None):
        path = path or self.file(f"{name}.img")
        return self.call("pool.create", name=name,
                         devices=[{"path": path, "create_bytes": size}])

    def create_volume(self, name="v", size=64 * MIB, pool="tank"):
        return self.call("volume.create", pool=pool, name=name, size_bytes=size)

    def attach(self, name="v", pool="tank", socket_name=None, **more):
        path = self.file(socket_name or f"{name.replace('@', '-')}.sock")
        return self.call("attachment.create", pool=pool, object=name, listen=f"unix:{path}",
                         **more)

    def serve(self, name="v", size=64 * MIB, **more):
        """A pool with one volume that is served; gives its URI."""
        self.create_pool()
        self.create_volume(name, size)
        return self.attach(name, **more)["uri"]

    def wait_serving(self, uuid, seconds=20):
        self.wait_until(
            lambda: self.call("attachment.get", uuid=uuid)["state"] == "serving", seconds)

    def wait_open(self, pool, seconds=20):
        self.wait_until(lambda: self.call("pool.get", pool=pool)["state"] == "open", seconds)

    def fsck(self, *devices):
        """Checks the closed pool; an error if it is not clean."""
        devices = devices or [self.file("tank.img")]
        checked = subprocess.run([POOL, "fsck", "--data", *devices], capture_output=True,
                                 text=True, check=False)
        if checked.returncode != 0:
            raise AssertionError(f"fsck {checked.returncode}: {checked.stdout}{checked.stderr}")


class Mounted:
    """A small file system of its own; in a with statement, its directory."""

    def __init__(self, kind, size_mib):
        self.kind = kind
        self.size_mib = size_mib
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="stoa-it-fs-", dir="/dev/shm"))

    def __enter__(self):
        run("mount", "-t", self.kind, "-o", f"size={self.size_mib}m,mode=700", "none", self.directory)
        return self.directory

    def __exit__(self, *_):
        # Lazily: a process that was killed may hold a file of it for another moment.
        run("umount", "--lazy", self.directory)
        self.directory.rmdir()


def run(*command, check=True, **more):
    """Runs a program of others; gives what it printed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          check=False, timeout=300, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
