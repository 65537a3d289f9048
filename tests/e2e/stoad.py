"""Runs a real stoad with its stoa-blockd and real guests, on directories of its own."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
BINARIES = TREE / os.environ.get("STOA_BINARIES", "build/release/src/apps")
CACHE = pathlib.Path(os.environ.get("STOA_TEST_CACHE", TREE / "build/cache/packages"))
LIMIT = 180  # seconds for anything that a guest does under emulation, on a busy machine


class Refused(Exception):
    """A command that ended with another code than 0; .code is that."""

    def __init__(self, command, done):
        super().__init__(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        self.code = done.returncode
        self.text = done.stderr


def alive(pid):
    """Whether the process is there, and no zombie."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until(condition, seconds=LIMIT, what="it"):
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Instance:
    """A root with a running stoad; use it in a with statement. Ends what it started."""

    def __init__(self, *options):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="stoa-e2e-"))
        self.helpers = self.root / "bin"
        self.helpers.mkdir()
        for folder, name in [("launch", "stoa-launch"), ("blockd", "stoa-blockd")]:
            (self.helpers / name).symlink_to(BINARIES / folder / name)
        self.options = options
        self.log = open(self.root / "log", "ab")
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is not None:
                print(f"stoad's log:\n{(self.root / 'log').read_text(errors='replace')}")
                if self.process is not None and self.process.poll() is None:
                    print(self.run("event", "list", check=False))
            self.end()
        finally:
            self.log.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def start(self):
        self.process = subprocess.Popen(
            [BINARIES / "stoad" / "stoad", "--root", self.root, "--helpers", self.helpers,
             "--listen", "127.0.0.1:0", *self.options],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(self.answers, 60, "stoad answers")

    def answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"stoad ended ({self.process.returncode}): "
                                 f"{(self.root / 'log').read_text(errors='replace')}")
        try:
            return self.run("host", "list", "-q").strip() != ""
        except Refused:
            return False

    def kill(self):
        """stoad alone, as by a crash."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Orderly; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def end(self):
        """Everything of this instance, guests too."""
        pids = [pid for pid in self.pids("qemu") + self.pids("blockd")]
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        runtime = self.runtime()
        dnsmasq = self.dnsmasq_pids()
        for pid in pids + dnsmasq:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not any(alive(pid) for pid in pids), 20, "processes end")
        if runtime is not None:
            shutil.rmtree(runtime, ignore_errors=True)
            self.remove_kernel_things(runtime.name)

    @staticmethod
    def cgroups(instance):
        """Directories of the instance in all hierarchies, the deepest first."""
        found = pathlib.Path("/sys/fs/cgroup").glob(f"**/stoa/{instance}/**/")
        return sorted((str(path) for path in found), key=len, reverse=True)

    @staticmethod
    def links(instance):
        return [name for name in os.listdir("/sys/class/net") if name.startswith(f"st{instance[:4]}")]

    @staticmethod
    def tables(instance):
        listed = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True,
                                check=False).stdout
        return [line.split()[1:] for line in listed.splitlines() if f"stoa_{instance}" in line]

    def remove_kernel_things(self, instance):
        for path in self.cgroups(instance):
            try:
                os.rmdir(path)
            except OSError:
                pass
        for name in self.links(instance):
            subprocess.run(["ip", "link", "del", name], check=False)
        for family, name in self.tables(instance):
            subprocess.run(["nft", "delete", "table", family, name], check=False)

    def runtime(self):
        try:
            name = (self.root / "stoad" / "instance").read_text().strip()
        except OSError:
            return None
        for base in ["/run/stoa", f"{os.environ.get('XDG_RUNTIME_DIR', '/none')}/stoa",
                     f"/tmp/stoa-{os.getuid()}"]:
            if pathlib.Path(base, name).is_dir():
                return pathlib.Path(base, name)
        return None

    def pids(self, what):
        """Of "qemu" (all guests) or "blockd", by what the keeper wrote."""
        files = (self.root / "stoad").glob("vms/*/qemu.status" if what == "qemu"
                                           else "blockd.status")
        found = []
        for file in files:
            status = json.loads(file.read_text())
            pid = status["process"]["pid"]
            if not status.get("ended") and alive(pid):
                found.append(pid)
        return found

    def dnsmasq_pids(self):
        runtime = self.runtime()
        if runtime is None:
            return []
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "dnsmasq" in line and str(runtime) in line:
                found.append(int(entry.name))
        return found

    # The command line, as a user has it.

    def run(self, *command, check=True, stdin=None, timeout=LIMIT):
        done = subprocess.run(
            [BINARIES / "stoa" / "stoa", *[str(part) for part in command]],
            capture_output=True, text=True, check=False, timeout=timeout + 30, input=stdin,
            env=dict(os.environ, STOA_ROOT=str(self.root)))
        if check and done.returncode != 0:
            raise Refused(command, done)
        return done.stdout

    def json(self, *command):
        return json.loads(self.run(*command, "-o", "json"))

    # What most tests begin with.

    def make_pool(self, name="tank"):
        self.run("pool", "create", name, self.root / f"{name}.img", "--size", "8G")

    def make_image(self):
        packages = self.root / "stoad" / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        CACHE.mkdir(parents=True, exist_ok=True)
        for package in CACHE.glob("*.deb"):
            shutil.copy(package, packages)
        self.run("image", "build", "tiny")
        for package in packages.glob("*.deb"):
            if not (CACHE / package.name).exists():
                shutil.copy(package, CACHE / f".{package.name}.{os.getpid()}")
                os.replace(CACHE / f".{package.name}.{os.getpid()}", CACHE / package.name)

    def make_vm(self, name, *options, disk=True, start=True, wait=True):
        command = ["vm", "create", name, "--image", "tiny", "--memory", "160M", *options]
        if disk:
            command += ["--disk", "data=256M"]
        if start:
            command += ["--start"]
        self.run(*command)
        if start and wait:
            self.wait_up(name)
            if disk:
                self.inside(name, "mke2fs -q -F -L stoa-data /dev/vda && mkdir -p /mnt && "
                                  "mount /dev/vda /mnt")

    def wait_up(self, name):
        def up():
            try:
                return self.inside(name, "true") is not None
            except Refused:
                return False
        wait_until(up, what=f"the agent of {name} answers")

    def inside(self, name, command):
        return self.run("vm", "exec", name, "--", "sh", "-c", command)

    def vm(self, name):
        return self.json("vm", "show", name)

    def state(self, name):
        return self.vm(name)["status"]["state"]

    def wait_state(self, name, state, seconds=LIMIT):
        wait_until(lambda: self.state(name) == state, seconds, f"{name} is {state}")

    def pid(self, name):
        file = self.root / "stoad" / "vms" / self.vm(name)["id"] / "qemu.status"
        return json.loads(file.read_text())["process"]["pid"]
