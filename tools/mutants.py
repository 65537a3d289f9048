#!/usr/bin/env python3
"""mutants.py [NUMBER...]: runs the planted bugs of docs/mutants.md, or those given, against the
simulation; each must be caught. Prints a table mutant -> oracle; the last line is
"N passed, N failed".

A mutant counts as caught by the oracle that stoa-sim names; by "abort" when a check of the engine
stopped the program; by "liveness" when it stood still. Environment: STOA_MUTANT_SECONDS (budget of
each, 120), STOA_MUTANT_JOBS (how many at once, 2), STOA_SIM_PROGRAM.
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs/mutants.md"
PROGRAM = Path(os.environ.get("STOA_SIM_PROGRAM", ROOT / "build/mutants/bin/stoa-sim"))
SECONDS = int(os.environ.get("STOA_MUTANT_SECONDS", "120"))
JOBS = int(os.environ.get("STOA_MUTANT_JOBS", "2"))
LEAST = 40
ROW = re.compile(r"^\|\s*(\d+)\s*\|\s*([^|]+?)\s*\|(.*)$")


def listed():
    """The mutants of the table: (number, what, other program that catches it or None)."""
    found = []
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        row = ROW.match(line)
        if row:
            # A row may name the test program that catches it when no simulation can.
            other = re.search(r"`(build/\S+|\w+_test)`", row.group(3))
            found.append((int(row.group(1)), row.group(2), other.group(1) if other else None))
    return found


def hunt_with_test(number, program):
    """A unit test of the mutants build, run with the mutant selected; failing means caught."""
    paths = sorted((ROOT / "build/mutants").rglob(program.split("/")[-1]))
    paths = [path for path in paths if os.access(path, os.X_OK) and path.is_file()]
    if not paths:
        return None, f"{program} is not built"
    result = subprocess.run([paths[0]], cwd=ROOT, timeout=SECONDS + 60, check=False,
                            env={**os.environ, "STOA_MUTANT": str(number)},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode == 0:
        return None, "not caught"
    failed = re.search(r"\[  FAILED  \] (\S+)", result.stdout)
    return paths[0].name, failed.group(1) if failed else "aborted"


def hunt(number):
    """(oracle, message), the oracle None if nothing noticed."""
    command = [PROGRAM, "--mutant", str(number), "--budget-seconds", str(SECONDS)]
    try:
        result = subprocess.run(command, cwd=ROOT, timeout=SECONDS + 240, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except subprocess.TimeoutExpired:
        return "liveness", "stood still until the time was over"
    found = re.search(r"^caught by ([\w-]+): (.*)$", result.stdout, re.M)
    if found and result.returncode == 0:
        return found.group(1), found.group(2)
    stopped = re.search(r"^(abort|liveness): (.*)$", result.stdout, re.M)
    if stopped:
        reason = [line for line in result.stderr.splitlines() if "CHECK" in line or "check" in line]
        return stopped.group(1), reason[-1] if reason else stopped.group(2)
    if result.returncode < 0:
        return "abort", f"signal {-result.returncode}"
    text = (result.stdout + result.stderr).strip()
    return None, text.splitlines()[-1] if text else f"exit {result.returncode}"


def run(mutant):
    number, _, other = mutant
    started = time.monotonic()
    oracle, message = hunt(number) if other is None else hunt_with_test(number, other)
    return mutant, oracle, message, time.monotonic() - started


def main():
    mutants = listed()
    if len(mutants) < LEAST:
        print(f"mutants: {TABLE.name} lists {len(mutants)} planted bugs, at least {LEAST} are wanted")
        print("0 passed, 1 failed")
        return 1
    wanted = {int(word) for word in sys.argv[1:]}
    if wanted:
        mutants = [mutant for mutant in mutants if mutant[0] in wanted]
    if not PROGRAM.exists():
        print(f"mutants: {PROGRAM} is not built (cmake --build --preset mutants)", file=sys.stderr)
        return 2
    # A build that fails without a mutant catches everything.
    oracle, message = hunt_baseline()
    if oracle is not None:
        print(f"mutants: the tests fail without a mutant: {oracle}: {message}")
        print("0 passed, 1 failed")
        return 1
    print(f"| mutant | caught by | after | planted bug |\n|{'---|' * 4}")
    missed = []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        for mutant, oracle, message, seconds in pool.map(run, mutants):
            print(f"| {mutant[0]} | {oracle or '**nothing**'} | {seconds:.0f} s | {mutant[1]} |",
                  flush=True)
            if oracle is None:
                missed.append((mutant[0], message))
    for number, message in missed:
        print(f"mutant {number}: {message}")
    print(f"{len(mutants) - len(missed)} passed, {len(missed)} failed")
    return 1 if missed else 0


def hunt_baseline():
    """The must-have sequences and some seeds without any mutant: (None, …) if they are good."""
    for arguments in (["--sequence", "all", "--budget-seconds", "60"],
                      ["--seed", "1", "--seeds", "10"]):
        result = subprocess.run([PROGRAM, *arguments], cwd=ROOT, timeout=1200, check=False,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if result.returncode != 0:
            return "baseline", result.stdout.strip()[-400:]
    return None, "good"


if __name__ == "__main__":
    sys.exit(main())
