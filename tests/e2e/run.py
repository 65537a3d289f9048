#!/usr/bin/python3
"""Runs the tests of this folder: run.py [NAME...]. Each file is a process with an instance of its own.

STOA_BINARIES names the build. Needs root for networks; QEMU runs under emulation."""

import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def main():
    files = [path.stem for path in sorted(HERE.glob("*_test.py"))
             if not sys.argv[1:] or any(wanted in path.stem for wanted in sys.argv[1:])]
    bad = 0
    for name in files:
        done = subprocess.run([sys.executable, "-W", "ignore", "-m", "unittest", "-v", name],
                              cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", check=False, timeout=3600)
        for test, verdict in re.findall(r"^(\w+) \([\w.]+\)[^\n]*? \.\.\. (?:.*\n)*?.*?(ok|FAIL|ERROR|skipped[^\n]*)$",
                                        done.stdout, re.M):
            if verdict == "ok":
                print(f"[       OK ] {name}.{test}")
            elif verdict in ("FAIL", "ERROR"):
                print(f"[  FAILED  ] {name}.{test} (e2e)")
        if done.returncode != 0:
            bad = 1
            print(done.stdout)
        sys.stdout.flush()
    return bad


if __name__ == "__main__":
    sys.exit(main())
