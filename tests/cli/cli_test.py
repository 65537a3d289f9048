#!/usr/bin/env python3
"""cli_test.py STOA: the command line against a daemon that is none (fake_stoad.py).

sessions/*.console: "$ command", what it prints (standard error behind standard output), and
"[N]" if its exit code is not 0. A line "..." stands for any lines. STOA_UPDATE=1 writes them anew.
The other tests are below: pseudo terminals, signals, what was sent.
"""
import json
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import fcntl
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from fake_stoad import FakeStoad, uuid  # noqa: E402

STOA = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else "stoa"
HERE = pathlib.Path(__file__).parent
LIMIT = 20


class Failed(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Failed(text)


def environment(directory, socket):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("STOA_", "XDG_", "COLUMNS"))}
    return clean | {"STOA_SOCKET": socket, "STOA_CONFIG": directory + "/config", "TZ": "UTC",
                    "HOME": directory, "PATH": os.path.dirname(STOA) + ":" + os.environ["PATH"],
                    "LC_ALL": "C.UTF-8"}


class Bench:
    """A fake daemon, and a directory of its own."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="stoa-cli-")
        self.directory = self.folder.name
        self.fake = FakeStoad(self.directory)
        self.env = environment(self.directory, self.fake.socket)

    def __enter__(self):
        self.fake.__enter__()
        return self

    def __exit__(self, *_):
        self.fake.__exit__()
        self.folder.cleanup()

    def run(self, words, stdin=""):
        return subprocess.run([STOA, *words], env=self.env, cwd=self.directory, input=stdin,
                              capture_output=True, text=True, timeout=LIMIT, check=False)

    def sent(self):
        if not os.path.exists(self.directory + "/log"):
            return []
        with open(self.directory + "/log", encoding="utf-8") as log:
            return [json.loads(line) for line in log]


class Terminal:
    """The program on a pseudo terminal of some width."""

    def __init__(self, bench, words, columns=80):
        self.seen = b""
        self.seen_end = False
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(bench.directory)
            os.execve(STOA, [STOA, *words], bench.env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ready, _, _ = select.select([self.fd], [], [], 0.05)
            if not ready:
                continue
            try:
                piece = os.read(self.fd, 65536)
            except OSError:
                piece = b""
            if not piece:
                self.seen_end = True
                return
            self.seen += piece

    def wait_for(self, text, seconds=10):
        end = time.monotonic() + seconds
        while text.encode() not in self.seen:
            check(time.monotonic() < end, f"waited for {text!r}, saw {self.seen!r}")
            self.read(0.1)

    def type(self, text):
        os.write(self.fd, text.encode())

    def end(self):
        self.read(LIMIT)
        try:
            os.kill(self.pid, 0 if self.seen_end else signal.SIGKILL)
        except ProcessLookupError:
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status), self.seen.decode()


# Sessions as text.

def fits(expected, seen):
    pattern = "".join(r"(?:[^\n]*\n)*" if line == "..." else re.escape(line) + r"\n"
                      for line in expected)
    return re.fullmatch(pattern, "".join(line + "\n" for line in seen)) is not None


def blocks_of(path):
    blocks = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("$ "):
            blocks.append((line[2:], []))
        elif blocks:
            blocks[-1][1].append(line)
    return blocks


def run_session(path):
    text = []
    with Bench() as bench:
        for command, expected in blocks_of(path):
            result = subprocess.run(["bash", "-c", command], env=bench.env, cwd=bench.directory,
                                    capture_output=True, text=True, timeout=LIMIT, check=False,
                                    stdin=subprocess.DEVNULL)
            seen = (result.stdout + result.stderr).replace(bench.directory, "DIR").splitlines()
            if result.returncode != 0:
                seen.append(f"[{result.returncode}]")
            text += ["$ " + command, *seen]
            if not os.environ.get("STOA_UPDATE"):
                check(fits(expected, seen), f"$ {command}\nprints:\n" + "\n".join(seen))
    if os.environ.get("STOA_UPDATE"):
        path.write_text("\n".join(text) + "\n", encoding="utf-8")


# The rest.

def tables_fit_into_the_terminal():
    for columns in (120, 80, 70):
        with Bench() as bench:
            code, seen = Terminal(bench, ["vm", "list"], columns).end()
            check(code == 0 and "web1" in seen, seen)
            for line in seen.splitlines():
                check(len(line) <= columns, f"{columns}: {line}")


def progress_has_a_rate_and_a_rest_and_leaves_no_trace():
    rated = (r"vm slow: copying the image +\d+%  [\d.]+ MiB of 512 MiB  [\d.]+ [KM]iB/s"
             r"  \d+s left")
    # A rate needs two looks at the task, for which a busy machine may have no time.
    for _ in range(5):
        with Bench() as bench:
            terminal = Terminal(bench, ["vm", "create", "slow"], 100)
            code, seen = terminal.end()
            check(code == 0, seen)
        if re.search(rated, seen):
            break
    else:
        check(False, seen)
    check(seen.endswith("\r\x1b[Kvm slow created\r\n"), repr(seen))


def without_a_terminal_there_is_no_progress():
    with Bench() as bench:
        result = bench.run(["vm", "create", "slow"])
        check((result.stdout, result.stderr) == ("vm slow created\n", ""), result)


def interrupted_the_task_goes_on_and_is_named():
    with Bench() as bench:
        process = subprocess.Popen([STOA, "vm", "create", "stay"], env=bench.env, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=5)
        check(process.returncode == 130, (process.returncode, out, err))
        check(f"vm stay: goes on as task {uuid(1000)}" in err, err)
        check(f"stoa task wait {uuid(1000)}" in err, err)


def a_daemon_that_restarts_is_waited_for_and_asked_with_the_same_key():
    with Bench() as bench:
        bench.fake.world.records["vms"].append(
            dict(bench.fake.world.records["vms"][0], id=uuid(13), name="flaky"))
        result = bench.run(["vm", "start", "flaky"])
        check(result.returncode == 0 and result.stdout == "vm flaky started\n", result)
        keys = [one["key"] for one in bench.sent() if one["target"].endswith("flaky/start")]
        check(len(keys) == 3 and len(set(keys)) == 1 and keys[0], keys)


def a_daemon_that_hangs_up_for_good_is_no_daemon():
    with Bench() as bench:
        result = bench.run(["vm", "show", "hangup", "--timeout", "1s"])
        check(result.returncode == 3, result)
        check("closed the connection before it answered" in result.stderr, result)


def a_terminal_is_asked_and_no_is_no():
    with Bench() as bench:
        terminal = Terminal(bench, ["vm", "delete", "web1"])
        terminal.wait_for("Delete vm web1? [y/N] ")
        terminal.type("n\n")
        code, seen = terminal.end()
        check(code == 1 and "left as it is" in seen, seen)
        check(not any(one["method"] == "DELETE" for one in bench.sent()), bench.sent())
        terminal = Terminal(bench, ["vm", "delete", "web1"])
        terminal.wait_for("[y/N] ")
        terminal.type("y\n")
        code, seen = terminal.end()
        check(code == 0 and "vm web1 deleted" in seen, seen)


def a_console_passes_keys_and_leaves_at_the_escape_key():
    with Bench() as bench:
        terminal = Terminal(bench, ["vm", "console", "web1"])
        terminal.wait_for("console 1")
        terminal.type("hello\x03")
        terminal.wait_for("HELLO\x03")  # Ctrl-C goes to the guest
        terminal.type("\x1d")
        code, seen = terminal.end()
        check(code == 0 and "left the console" in seen, seen)


def a_console_comes_back_when_the_daemon_does():
    with Bench() as bench:
        terminal = Terminal(bench, ["vm", "console", "web1", "--escape", "^A"])
        terminal.wait_for("console 1")
        terminal.type("!")
        terminal.wait_for("the daemon is away; reconnecting")
        terminal.wait_for("connected again")
        terminal.wait_for("console 2")
        terminal.type("x")
        terminal.wait_for("X")
        terminal.type("\x01")
        code, _ = terminal.end()
        check(code == 0, code)


def a_console_says_why_it_is_closed():
    with Bench() as bench:
        terminal = Terminal(bench, ["vm", "console", "web1"])
        terminal.wait_for("console 1")
        terminal.type("?")
        code, seen = terminal.end()
        check(code == 0 and "the console is closed: the guest is off" in seen, seen)


def passwords_are_not_shown():
    with Bench() as bench:
        terminal = Terminal(bench, ["user", "create", "bob"])
        terminal.wait_for("New password of bob: ")
        terminal.type("hunter2\n")
        terminal.wait_for("Once more: ")
        terminal.type("hunter2\n")
        code, seen = terminal.end()
        check(code == 0 and "hunter2" not in seen, seen)
        check(bench.sent()[-1]["body"] == {"name": "bob", "password": "hunter2"}, bench.sent())


def files_are_copied_whole():
    with Bench() as bench:
        data = bytes(range(256)) * 4000
        with open(bench.directory + "/in", "wb") as file:
            file.write(data)
        check(bench.run(["vm", "push", "web1", "in", "/tmp/a b"]).returncode == 0, "push")
        check(bench.fake.world.files["/tmp/a b"] == data, "what arrived")
        check(bench.run(["vm", "pull", "web1", "/tmp/a b", "out"]).returncode == 0, "pull")
        with open(bench.directory + "/out", "rb") as file:
            check(file.read() == data, "what came back")
        result = bench.run(["vm", "pull", "web1", "/none", "none"])
        check(result.returncode == 4 and not os.path.exists(bench.directory + "/none"), result)
        result = bench.run(["vm", "push", "web1", "-", "/piped"], stdin="text")
        check(bench.fake.world.files.get("/piped") == b"text", result)


def what_is_sent_is_what_was_meant():
    with Bench() as bench:
        result = bench.run(["vm", "create", "web9", "--image", "tiny", "--memory", "256M", "--cpus",
                            "1", "--disk", "data=1G", "--disk", "logs=2G,pool=fast,bus=scsi",
                            "--disk", "cd,iso=debian", "--nic", "net0", "--nic",
                            "user,model=e1000,name=out", "--label", "a=b", "--boot-order", "cd,data",
                            "--on-crash", "stay-off", "--start-delay", "2m", "--start"])
        check(result.returncode == 0, result)
        sent = next(one for one in bench.sent() if one["method"] == "POST")
        check(sent["target"] == "/v1/vms" and sent["key"], sent)
        check(sent["body"] == {
            "name": "web9", "image": "tiny", "memory_bytes": 256 << 20, "cpus": 1,
            "disks": [{"name": "data", "size_bytes": 1 << 30},
                      {"name": "logs", "pool": "fast", "bus": "scsi", "size_bytes": 2 << 30},
                      {"name": "cd", "iso": "debian"}],
            "nics": [{"network": "net0"}, {"network": "user", "model": "e1000", "name": "out"}],
            "boot_order": ["cd", "data"], "restart": {"on_crash": "stay-off"},
            "start_delay_seconds": 120, "start": True, "labels": {"a": "b"}}, sent["body"])


def a_bundle_holds_no_secrets():
    with Bench() as bench:
        result = bench.run(["support", "bundle", "b.tar"])
        check(result.returncode == 0, result)
        path = bench.directory + "/b.tar"
        check(os.stat(path).st_mode & 0o777 == 0o600, oct(os.stat(path).st_mode))
        names = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)
        check("stoa-support/vms.json" in names.stdout, names.stdout)
        with open(path, "rb") as file:
            check(b"hunter2" not in file.read(), "a secret")


def yaml_is_read_as_what_it_was():
    try:
        import yaml
    except ImportError:
        return
    with Bench() as bench:
        for command in (["vm", "list"], ["network", "show", "net0"], ["host", "show"]):
            as_json = json.loads(bench.run([*command, "-o", "json"]).stdout)
            as_yaml = yaml.safe_load(bench.run([*command, "-o", "yaml"]).stdout)
            check(as_json == as_yaml, (command, as_json, as_yaml))


def output_that_is_not_taken_is_a_failure():
    with Bench() as bench:
        for words in (["vm", "list"], ["help"], ["--version"], ["vm", "list", "-o", "json"]):
            with open("/dev/full", "w", encoding="utf-8") as full:
                result = subprocess.run([STOA, *words], env=bench.env, stdout=full, text=True,
                                        stderr=subprocess.PIPE, timeout=LIMIT, check=False)
            check(result.returncode == 1 and "cannot be written" in result.stderr, (words, result))


def the_reference_is_what_the_program_says():
    result = subprocess.run([STOA, "help", "--markdown"], capture_output=True, text=True, check=True)
    page = (HERE.parent.parent / "docs/guide/cli.md").read_text(encoding="utf-8")
    check(result.stdout == page, "docs/guide/cli.md: make it anew with stoa help --markdown")


def every_verb_has_an_example_that_can_be_parsed():
    page = (HERE.parent.parent / "docs/guide/cli.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^### (stoa .*?)$.*?^```\n(.*?)^```", page, re.M | re.S)
    check(len(blocks) > 60, len(blocks))
    for title, examples in blocks:
        check(examples.strip(), title)
        for example in examples.splitlines():
            for call in re.findall(r"(stoa [^()|<>]*)", example):
                call = re.sub(r"\s(--help)?$", "", call.split(" > ")[0])
                result = subprocess.run(["bash", "-c", call + " --help"] if " -- " not in call else
                                        ["bash", "-c", call.replace(" -- ", " --help -- ")],
                                        env=environment("/nonexistent", "/nonexistent"),
                                        capture_output=True, text=True, check=False)
                check(result.returncode == 0, (call, result.stderr))


TESTS = [tables_fit_into_the_terminal, progress_has_a_rate_and_a_rest_and_leaves_no_trace,
         without_a_terminal_there_is_no_progress, interrupted_the_task_goes_on_and_is_named,
         a_daemon_that_restarts_is_waited_for_and_asked_with_the_same_key,
         a_daemon_that_hangs_up_for_good_is_no_daemon, a_terminal_is_asked_and_no_is_no,
         a_console_passes_keys_and_leaves_at_the_escape_key,
         a_console_comes_back_when_the_daemon_does, a_console_says_why_it_is_closed,
         passwords_are_not_shown, files_are_copied_whole, what_is_sent_is_what_was_meant,
         a_bundle_holds_no_secrets, yaml_is_read_as_what_it_was,
         output_that_is_not_taken_is_a_failure, the_reference_is_what_the_program_says,
         every_verb_has_an_example_that_can_be_parsed]


def main():
    wanted = sys.argv[2:]
    tests = [(f"session.{path.stem}", lambda path=path: run_session(path))
             for path in sorted((HERE / "sessions").glob("*.console"))]
    tests += [(f"cli.{test.__name__}", test) for test in TESTS]
    failed = 0
    for name, test in tests:
        if wanted and not any(word in name for word in wanted):
            continue
        begin = time.monotonic()
        try:
            test()
        except Exception as error:  # pylint: disable=broad-except
            failed += 1
            print(error if isinstance(error, Failed) else traceback.format_exc())
            print(f"[  FAILED  ] {name}", flush=True)
        else:
            print(f"[       OK ] {name} ({int((time.monotonic() - begin) * 1000)} ms)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
