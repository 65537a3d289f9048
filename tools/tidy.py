#!/usr/bin/env python3
"""tidy.py [ROOT]: the house rules that a compiler does not check. Run by tools/lint.sh.

Layers (src/layers.txt against every #include and every CMake link list), sizes, banned calls each
with its replacement, and what every file must or must not hold. Prints "path:line: what is wrong";
notes do not fail. A line is excused from a banned call by the comment "tidy: allow WORD: why".
Its own test, with a bad sample for each rule: tools/tidy_test.py.
"""
import pathlib
import re
import sys

FILE_LINES_MAX, FILE_LINES_NOTE = 700, 500
FUNCTION_LINES_MAX, FUNCTION_LINES_NOTE = 100, 70

# (word, pattern, where it is allowed, what to use instead). `where` is a prefix of paths.
IO = ("src/dataplane/io/", "src/controlplane/host/")
SYSTEM = IO + ("src/apps/", "tests/", "bench/")
ADAPTERS = ("src/adapters/",)
FOLDERS = "an interface of dataplane/io or controlplane/host"
FREE = r"(?<![\w.>:])(?:::\s*)?"  # neither a member nor another namespace's
BANNED = [
    ("syscall",
     FREE + r"(?:p(?:read|write)v?2?|mmap|munmap|f(?:data)?sync|fallocate|ftruncate|ioctl|"
     r"socket|accept4?|fork|exec[lv]\w*|clock_gettime|gettimeofday|getrandom|usleep|nanosleep)\s*\(",
     SYSTEM, FOLDERS),
    ("syscall",
     r"(?<![\w>:])::\s*(?:open|openat|read|write|close|poll|send|recv|bind|connect|unlink|stat)\s*\(",
     SYSTEM, FOLDERS),
    ("syscall", FREE + r"open(?:at)?\s*\([^;]*\bO_[A-Z]+", SYSTEM, FOLDERS),
    ("clock", r"\b(?:system|steady|high_resolution)_clock\b", SYSTEM,
     "Executor::now_ns or wall_ns (controlplane: host::Clock)"),
    ("random", r"\brandom_device\b|" + FREE + r"(?:std::)?s?rand\s*\(|std::s?rand\s*\(", IO,
     "Executor::random or a generator seeded by it (controlplane: host::Random)"),
    ("sleep", r"\bsleep_(?:for|until)\s*\(\s*std::", IO, "Executor::sleep_ns"),
    ("detach", r"[.>]detach\s*\(\s*\)", (), "a thread that is joined, or a TaskGroup"),
    ("throw", r"\bthrow\b", ADAPTERS, "Result<T>"),
    ("print", r"(?:\bstd::|" + FREE + r")f?(?:printf|puts)\s*\(|\bstd::c(?:out|err)\b",
     ("src/base/check.cc", "src/apps/", "tests/", "bench/"), "a Result, or the caller's sink"),
    # A class with a private constructor is put straight into its unique_ptr.
    ("new", r"(?<!operator )(?<!unique_ptr\(\()\bnew\s+[A-Za-z_:(]", ("tests/",),
     "std::make_unique"),
]
OWNED_NEW = re.compile(r"unique_ptr<[^;=]*>\s*\w*\s*[({]\s*new\b")
TEST_FILE = re.compile(r"_(?:test|fuzz|bench)\.cc$")
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
MACHINE_PATH = re.compile(r"(?<![\w.}$)])/(?:work|farm)/")
CMAKE_CALL = re.compile(r"\bstoa_(library|program|test|benchmarks|link|add_test)\s*\(([^()]*)\)")


def strip(text):
    """The text with comments, strings and characters blanked; lines stay where they are."""
    pattern = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'',
        re.S)

    def blank(match):
        lines = "\n" * match.group().count("\n")
        return lines if match.group().startswith("/") else '""' + lines

    return pattern.sub(blank, text)


class Layer:
    """One line of layers.txt."""

    def __init__(self, folder, name, uses, test_uses):
        self.folder, self.name, self.uses, self.test_uses = folder, name, uses, test_uses

    def path(self):
        outside = self.folder.split("/")[0] in ("tests", "bench")
        return self.folder if outside else "src/" + self.folder


def read_layers(text):
    layers = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        folder, name, *uses = words
        cut = uses.index("test:") if "test:" in uses else len(uses)
        layers.append(Layer(folder, name, uses[:cut], uses[cut + 1:]))
    return layers


class Tidy:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.problems, self.notes = [], []
        table = self.root / "src/layers.txt"
        self.layers = read_layers(table.read_text(encoding="utf-8")) if table.is_file() else []
        self.by_path = {layer.path(): layer for layer in self.layers}
        self.by_name = {layer.name: layer for layer in self.layers}
        if not self.layers:
            self.fail("src/layers.txt", 1, "is missing or empty")

    def fail(self, path, line, text):
        self.problems.append(f"{path}:{line}: {text}")

    def note(self, path, line, text):
        self.notes.append(f"{path}:{line}: note: {text}")

    def files(self, folders, suffixes):
        for folder in folders:
            for path in sorted((self.root / folder).rglob("*")):
                if path.suffix in suffixes and path.is_file() and "__pycache__" not in path.parts:
                    yield path.relative_to(self.root).as_posix(), path.read_text(
                        encoding="utf-8", errors="replace")

    def run(self):
        for path, text in self.files(("src", "tests", "bench"), (".h", ".cc")):
            self.check_source(path, text)
        for path, text in self.files(("src", "tests", "bench"), (".txt",)):
            if path.endswith("CMakeLists.txt"):
                self.check_links(path, text)
        plain = (".h", ".cc", ".md", ".txt", ".cmake", ".py", ".sh", ".json", ".yaml", ".yml")
        for path, text in self.files(("src", "tests", "bench", "docs", "tools", "cmake",
                                      "packaging"), plain):
            self.check_words(path, text)
        for path in sorted(self.root.glob("*")):
            if path.is_file() and (path.suffix in plain or path.name == "Makefile"):
                self.check_words(path.name, path.read_text(encoding="utf-8"))
        return not self.problems

    def check_source(self, path, text):
        self.check_layout(path, text)
        self.check_includes(path, text)
        code = strip(text)
        self.check_banned(path, text, code)
        self.check_functions(path, code)

    def check_layout(self, path, text):
        count = text.count("\n")
        if count > FILE_LINES_MAX:
            self.fail(path, count, f"has {count} lines; split it (at most {FILE_LINES_MAX})")
        elif count > FILE_LINES_NOTE:
            self.note(path, count, f"has {count} lines; consider a split")
        if path.endswith(".h"):
            if not re.search(r"^#pragma once$", text, re.M):
                self.fail(path, 1, "lacks #pragma once")
            if not text.startswith("//"):
                self.fail(path, 1, "lacks the comment at the top: what it is")
        elif not text.startswith("//"):
            # What a header or its own name explains needs no second comment.
            header = re.sub(r"(?:_test)?\.cc$", ".h", path)
            if not (self.root / header).is_file():
                self.fail(path, 1, "lacks the comment at the top: no header of its name has one")

    def layer_of(self, path):
        """The layer of the longest folder of the table that holds `path`."""
        folder = path.rsplit("/", 1)[0]
        while folder:
            if folder in self.by_path:
                return self.by_path[folder]
            folder = folder.rpartition("/")[0]
        return None

    def check_includes(self, path, text):
        layer = self.layer_of(path)
        if layer is None:
            self.fail(path, 1, "lies in no folder of src/layers.txt")
            return
        allowed = {layer.name, *layer.uses}
        if TEST_FILE.search(path) or pathlib.Path(path).name.startswith("test_"):
            allowed.update(layer.test_uses)
        for match in INCLUDE.finditer(text):
            line = text.count("\n", 0, match.start(1)) + 1
            name = match.group(1)
            if "/" not in name:
                self.fail(path, line, f'include "{name}" by its path from src/')
                continue
            outside = name.split("/")[0] in ("tests", "bench")
            target = self.layer_of(name if outside else "src/" + name)
            if target is None:
                self.fail(path, line, f"includes {name}, in no folder of src/layers.txt")
            elif target.name not in allowed:
                self.fail(path, line, f"{layer.folder} may not include {target.folder} "
                          f"({name}); src/layers.txt allows {' '.join(sorted(allowed))}")

    def check_links(self, path, text):
        if path.rsplit("/", 1)[0] not in self.by_path:
            self.fail(path, 1, "its folder is not in src/layers.txt")
            return
        layer = self.by_path[path.rsplit("/", 1)[0]]
        text = re.sub(r"#[^\n]*", "", text)
        found = False
        for match in CMAKE_CALL.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            call, lists = match.group(1), self.link_lists(match.group(1), match.group(2))
            found = True
            if "DEPENDS" in lists and sorted(lists["DEPENDS"]) != sorted(layer.uses):
                self.fail(path, line, f"stoa_{call} links {' '.join(lists['DEPENDS'])}; "
                          f"src/layers.txt says {' '.join(layer.uses)}")
            tests = lists.get("TEST_DEPENDS", [])
            if call in ("library", "program") and sorted(tests) != sorted(layer.test_uses):
                self.fail(path, line, f"stoa_{call} links its tests to {' '.join(tests) or '-'}; "
                          f"src/layers.txt says {' '.join(layer.test_uses) or '-'}")
            if call in ("library", "program") and lists.get("NAME") != [layer.name]:
                self.fail(path, line, f"NAME must be {layer.name}, as in src/layers.txt")
        if not found:
            self.fail(path, 1, "has no stoa_library, stoa_program, stoa_test or stoa_benchmarks")
        for match in re.finditer(r"target_link_libraries\s*\([^()]*?\bstoa_(\w+)", text):
            if match.group(1) in self.by_name and match.group(1) not in layer.uses:
                line = text.count("\n", 0, match.start()) + 1
                self.fail(path, line, f"links {match.group(1)}, which src/layers.txt forbids")

    @staticmethod
    def link_lists(call, text):
        """The keyword lists of one call; both plain forms (stoa_link) name theirs DEPENDS."""
        words = re.sub(r'"[^"]*"', '""', text).split()
        if call == "link":
            return {"DEPENDS": words[2:]}
        if call == "add_test":
            return {"DEPENDS": words[3:]}
        lists, current = {}, None
        for word in words:
            if word in ("NAME", "LABEL", "SOURCES", "DEPENDS", "TEST_DEPENDS"):
                current = lists.setdefault(word, [])
            elif current is not None:
                current.append(word)
        return lists

    def check_banned(self, path, text, code):
        raw = text.splitlines()
        for number, line in enumerate(code.splitlines(), 1):
            for word, pattern, where, instead in BANNED:
                if path.startswith(where) or not re.search(pattern, line):
                    continue
                if f"tidy: allow {word}:" in "\n".join(raw[max(0, number - 2):number]):
                    continue
                # The owner may stand on the line before.
                owner = " ".join(code.splitlines()[max(0, number - 2):number])
                if word == "new" and OWNED_NEW.search(owner):
                    continue
                if word == "new" and re.search(r"^\s*#\s*include|\bnew\s*\(", line):
                    continue
                self.fail(path, number, f"{word} is banned here: use {instead}")

    def check_functions(self, path, code):
        """Functions at namespace level: their closing brace stands in column 0."""
        start, name = None, ""
        for number, line in enumerate(code.splitlines(), 1):
            if re.match(r"[A-Za-z_\[]", line) and not re.match(
                    r"(?:namespace|class|struct|enum|union|extern|using|template|public|private|"
                    r"protected)\b", line):
                if start is None:
                    start, name = number, line.split("(")[0].split()[-1:] or [""]
            if line.startswith("}") or (start == number and line.rstrip().endswith((";", "}"))):
                if start is not None and line.startswith("}"):
                    self.check_length(path, start, name[0], number - start + 1)
                start = None

    def check_length(self, path, start, name, count):
        if count > FUNCTION_LINES_MAX:
            self.fail(path, start, f"{name} has {count} lines (at most {FUNCTION_LINES_MAX})")
        elif count > FUNCTION_LINES_NOTE:
            self.note(path, start, f"{name} has {count} lines; consider a split")

    def check_words(self, path, text):
        for number, line in enumerate(text.splitlines(), 1):
            if UNFINISHED.search(line):
                self.fail(path, number, "holds a mark of unfinished work; finish it or leave it out")
            if MACHINE_PATH.search(line):
                self.fail(path, number, "holds a path of one machine")


def main():
    default = pathlib.Path(__file__).resolve().parent.parent
    tidy = Tidy(sys.argv[1] if len(sys.argv) > 1 else default)
    good = tidy.run()
    for line in tidy.problems + tidy.notes:
        print(line)
    print(f"tidy: {len(tidy.problems)} problems, {len(tidy.notes)} notes")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
