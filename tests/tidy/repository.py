"""The files that the rules look at, and C++ text without what is not code."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

SKIPPED_FOLDERS = {"build", "demo", "__pycache__"}
TEXT_SUFFIXES = {
    ".cpp", ".hpp", ".py", ".cmake", ".txt", ".in", ".sql", ".md", ".toml", ".json", ".js",
    ".css", ".html", ".sh", "",
}

_NOT_CODE = re.compile(
    r"""
      //[^\n]*
    | /\*.*?\*/
    | R"(?P<mark>[^()\s\\]{0,16})\(.*?\)(?P=mark)"
    | "(?:\\.|[^"\\\n])*"
    | (?<![0-9A-Za-z_])'(?:\\.|[^'\\\n])+'
    """,
    re.DOTALL | re.VERBOSE,
)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.MULTILINE)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"\n]+)[>"]', re.MULTILINE)


def _blank(match):
    return re.sub(r"[^\n]", " ", match.group())


@dataclass(frozen=True)
class Finding:
    path: str
    line: int
    message: str


@dataclass(frozen=True)
class Include:
    line: int
    angled: bool
    name: str


@dataclass(frozen=True)
class SourceFile:
    path: str
    text: str

    @property
    def suffix(self):
        return PurePosixPath(self.path).suffix

    @property
    def folder(self):
        return str(PurePosixPath(self.path).parent)

    @property
    def is_cpp(self):
        return self.suffix in (".cpp", ".hpp")

    @property
    def is_public_header(self):
        return self.path.startswith("include/")

    @property
    def is_test(self):
        return self.path.startswith("tests/") or self.path.endswith("_test.cpp")

    @property
    def is_production(self):
        return not self.is_test and self.path.startswith(("include/", "src/", "apps/"))

    @cached_property
    def lines(self):
        return self.text.splitlines()

    @cached_property
    def code(self):
        """C++ with comments, literals and directives blanked; every offset stays the same."""
        return _DIRECTIVE.sub(_blank, _NOT_CODE.sub(_blank, self.text))

    @cached_property
    def prose(self):
        """What people read: the comments of C++, all of any other file. Offsets stay the same."""
        if not self.is_cpp:
            return self.text
        comments = bytearray(len(self.text))
        for match in _NOT_CODE.finditer(self.text):
            if match[0].startswith("/"):
                comments[match.start() : match.end()] = b"\1" * len(match[0])
        return "".join(
            char if keep or char == "\n" else " " for char, keep in zip(self.text, comments)
        )

    @cached_property
    def includes(self):
        return [
            Include(self.line_at(match.start(1)), match[1] == "<", match[2])
            for match in _INCLUDE.finditer(self.text)
        ]

    def line_at(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def find(self, pattern, text=None):
        """A pair (line, match) for every match of `pattern` in the code or in `text`."""
        for match in re.finditer(pattern, self.code if text is None else text):
            yield self.line_at(match.start()), match


class Repository:
    def __init__(self, root):
        self.root = root
        self.files = {}
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(
                name for name in folders if name not in SKIPPED_FOLDERS and name != ".git"
            )
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.splitext(name)[1] in TEXT_SUFFIXES and os.path.isfile(path):
                    self._add(path)

    def _add(self, path):
        relative = os.path.relpath(path, self.root).replace(os.sep, "/")
        with open(path, encoding="utf-8", errors="replace") as file:
            self.files[relative] = SourceFile(relative, file.read())

    def cpp(self):
        return [file for file in self.files.values() if file.is_cpp]

    def resolve(self, file, include):
        """The path of an included file of this repository, or None."""
        for base in ("include", file.folder, "."):
            path = os.path.normpath(os.path.join(base, include.name))
            if path in self.files:
                return path
        return None
