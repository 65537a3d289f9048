#!/usr/bin/python3
"""Runs the tests of this folder, two at a time: run.py [NAME...]

Each test starts its own daemon on directories of its own. STOA_BINARIES names the build, STOA_KILLS
how often each kill test kills. The distribution's Python: it has the module nbd.
"""

import concurrent.futures
import pathlib
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).parent


def names_in(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from names_in(each)
        else:
            yield each.id()


def run_one(name):
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-W", "ignore", "-m", "unittest", name], cwd=HERE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", check=False, timeout=1800)
    return name, done.returncode, done.stdout, int((time.monotonic() - begin) * 1000)


def main():
    found = unittest.defaultTestLoader.discover(str(HERE), pattern="*_test.py")
    names = [name for name in names_in(found)
             if not sys.argv[1:] or any(wanted in name for wanted in sys.argv[1:])]
    if not names or any("_FailedTest" in name for name in names):
        print("interop: a test file cannot be loaded, or no test has such a name:", names)
        return 1
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as runners:
        for name, code, output, milliseconds in runners.map(run_one, names):
            if code == 0:
                # What a test measured stands in indented lines.
                for line in output.splitlines():
                    if line.startswith("  "):
                        print(line)
                print(f"[       OK ] {name} ({milliseconds} ms)", flush=True)
            else:
                failed += 1
                print(f"{output}\n[  FAILED  ] {name} ({milliseconds} ms)", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
