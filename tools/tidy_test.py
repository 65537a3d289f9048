#!/usr/bin/env python3
"""The test of tidy.py: a good tree passes, and each rule catches its bad sample."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import tidy  # noqa: E402

LAYERS = """
base              base  fmt
dataplane/io      io    base liburing  test: io_sim
dataplane/io/sim  io_sim base io
dataplane/pool    pool  base io        test: io_sim
dataplane/pool/fsck fsck base
controlplane/host host base
"""
HEADER = "// A thing.\n#pragma once\n"
GOOD = {
    "src/layers.txt": LAYERS,
    "src/base/a.h": HEADER,
    "src/base/a.cc": '#include "base/a.h"\n',
    "src/base/CMakeLists.txt": "stoa_library(NAME base DEPENDS fmt)\n",
    "src/dataplane/io/io.h": HEADER,
    "src/controlplane/host/h.h": HEADER,
    "src/dataplane/io/sim/disk.h": HEADER,
    "src/dataplane/pool/p.h": HEADER + '#include "base/a.h"\n#include "dataplane/io/io.h"\n',
    "src/dataplane/pool/CMakeLists.txt":
        "stoa_library(NAME pool DEPENDS base io TEST_DEPENDS io_sim)\n",
    "src/dataplane/pool/p_test.cc": '#include "dataplane/io/sim/disk.h"\n',
}
POOL = "src/dataplane/pool/p.cc"


class TidyTest(unittest.TestCase):
    def problems(self, changes):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**GOOD, **changes}.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text, encoding="utf-8")
            checker = tidy.Tidy(root)
            checker.run()
            return checker.problems

    def catches(self, path, text, words):
        problems = self.problems({path: text})
        self.assertEqual(len(problems), 1, problems)
        self.assertTrue(problems[0].startswith(path + ":"), problems)
        self.assertIn(words, problems[0])

    def passes(self, path, text):
        self.assertEqual(self.problems({path: text}), [])

    def test_good_tree_passes(self):
        self.assertEqual(self.problems({}), [])

    def test_layers_of_includes(self):
        self.catches("src/base/a.cc", '#include "dataplane/io/io.h"\n', "may not include")
        self.catches(POOL, '#include "dataplane/io/sim/disk.h"\n', "may not include")
        self.catches("src/dataplane/pool/fsck/f.h", HEADER + '#include "dataplane/pool/p.h"\n',
                     "may not include")
        self.catches(POOL, '#include "p.h"\n', "by its path")
        self.catches("src/other/a.h", HEADER, "no folder of")

    def test_link_lists(self):
        path = "src/dataplane/pool/CMakeLists.txt"
        self.catches(path, "stoa_library(NAME pool DEPENDS base TEST_DEPENDS io_sim)\n", "links")
        self.catches(path, "stoa_library(NAME pool DEPENDS base io)\n", "its tests")
        self.catches(path, "stoa_library(NAME p DEPENDS base io TEST_DEPENDS io_sim)\n", "NAME")
        self.catches(path, "add_library(pool)\n", "has no stoa_library")

    def test_sizes(self):
        self.catches(POOL, "int x;\n" * 701, "701 lines")
        self.passes(POOL, "int x;\n" * 700)
        self.catches(POOL, "int f() {\n" + "    g();\n" * 100 + "}\n", "f has 102 lines")
        self.passes(POOL, "int f() {\n" + "    g();\n" * 60 + "}\n")

    def test_banned_calls(self):
        for code, word in {
                "int f = ::open(path, 0);": "syscall",
                "int f = open(path, O_RDONLY);": "syscall",
                "pwrite(f, p, n, 0);": "syscall",
                "fsync(f);": "syscall",
                "auto t = std::chrono::system_clock::now();": "clock",
                "int r = rand();": "random",
                "int r = std::rand();": "random",
                "std::random_device d;": "random",
                "thread.detach();": "detach",
                "throw 1;": "throw",
                "std::printf(text);": "print",
                "fprintf(stderr, text);": "print",
                "auto* p = new Node;": "new",
        }.items():
            with self.subTest(code):
                self.catches(POOL, code + "\n", word + " is banned")

    def test_calls_that_are_not_banned(self):
        for code in ("device.read(0, x);", "open();", "// throw, rand(), new Node",
                     'say("throw new rand()");', "Result<int> File::open(int x) {", "x->mmap();",
                     "std::unique_ptr<Node> node(new Node(3));",
                     "int x = new_size(3);",
                     "std::unique_ptr<A>(new A(b));",
                     "auto* p = new Node;  // tidy: allow new: the list owns it"):
            with self.subTest(code):
                self.passes(POOL, code + "\n")
        self.passes("src/dataplane/io/io.cc", "int f = ::open(path, 0);\n")
        for code in ("int f = ::open(path, 0);", "steady_clock::now();", "nanosleep(&a, &b);"):
            self.passes("src/controlplane/host/h.cc", code + "\n")

    def test_what_every_file_holds(self):
        self.catches("src/base/b.h", "// A thing.\n", "#pragma once")
        self.catches("src/base/b.h", "#pragma once\n", "comment at the top")
        self.catches("src/base/b.cc", "int x;\n", "comment at the top")
        self.catches(POOL, "int x;  // TO" "DO: more\n", "unfinished")
        self.catches("docs/a.md", "see /wo" "rk/main\n", "one machine")


if __name__ == "__main__":
    unittest.main()
