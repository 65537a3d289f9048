#!/usr/bin/env python3
"""clang_tidy.py BUILD_DIR [--all]: clang-tidy over the sources of its compile_commands.json.

Those of the control plane only with --all: their coroutines take it half a minute a file, which is
too long for every change (`make lint-all`).

A file that passed is stamped in build/lint under a hash of all it depends on: its command, its
text, every project header it includes, and .clang-tidy; it is checked again only if that changes.
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CONTROL_PLANE = ("src/controlplane/", "src/client/", "src/apps/launch/", "src/apps/stoad/",
                 "src/apps/stoa/")
INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.M)


def closure(source):
    """The source and all project headers it reaches, sorted."""
    seen, todo = set(), [source]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in INCLUDE.findall(path.read_bytes()):
            for base in (ROOT / "src", ROOT, path.parent):
                header = base / name.decode()
                if header.is_file():
                    todo.append(header)
                    break
    return sorted(seen)


def main():
    build = pathlib.Path(sys.argv[1])
    stamps = ROOT / "build" / "lint"
    stamps.mkdir(parents=True, exist_ok=True)
    settings = (ROOT / ".clang-tidy").read_bytes()
    work = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = pathlib.Path(entry["file"])
        if not source.is_file() or source in work:
            continue
        if "--all" not in sys.argv and str(source.relative_to(ROOT)).startswith(CONTROL_PLANE):
            continue
        digest = hashlib.sha256(settings + entry["command"].encode())
        for path in closure(source):
            digest.update(str(path).encode() + path.read_bytes())
        work[source] = stamps / digest.hexdigest()
    todo = {source: stamp for source, stamp in work.items() if not stamp.exists()}
    print(f"clang-tidy: {len(todo)} of {len(work)} files to check")

    def check(source):
        run = subprocess.run(
            ["clang-tidy-19", "--quiet", "--warnings-as-errors=*", "-p", str(build), str(source)],
            capture_output=True, text=True, check=False)
        if run.returncode == 0:
            todo[source].touch()
        return run

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for run in pool.map(check, sorted(todo)):
            if run.returncode != 0:
                bad += 1
                print(run.stdout or run.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
