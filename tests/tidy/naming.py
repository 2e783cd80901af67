"""Names of files and folders, and where they are listed."""

import re
from pathlib import PurePosixPath

from repository import Finding

EMPTY_WORDS = {
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "core", "impl", "types",
    "stuff",
}
_CODE_FOLDERS = ("include/", "src/", "apps/", "tests/", "bench/", "fuzz/", "examples/")


def file_names(repository):
    """A name says what is inside; C++ files are snake_case .hpp and .cpp."""
    for path in repository.files:
        for part in PurePosixPath(path).parts:
            words = set(re.split(r"[_\-.]", part.lower())) & EMPTY_WORDS
            if words:
                yield Finding(path, 1, f'"{words.pop()}" in a name says nothing')
        if path.startswith(_CODE_FOLDERS):
            name = PurePosixPath(path).name
            if re.search(r"\.(h|cc|cxx|hh|hxx|c\+\+)$", name):
                yield Finding(path, 1, "C++ files end in .hpp or .cpp")
            if re.search(r"\.[ch]pp$", name) and not re.fullmatch(r"[a-z][a-z0-9_]*\.[ch]pp", name):
                yield Finding(path, 1, "file names are snake_case")


def listed(repository):
    """Every source and every public header is named in a CMake list."""
    tokens = {
        file.folder: set(re.findall(r"[\w./-]+", file.text))
        for file in repository.files.values()
        if PurePosixPath(file.path).name == "CMakeLists.txt"
    }
    for file in repository.files.values():
        if file.is_public_header:
            folder = "src" + file.folder.removeprefix("include/instep")
            named = PurePosixPath(file.path).name in tokens.get(folder, ())
        elif file.suffix == ".cpp" and file.path.startswith(_CODE_FOLDERS):
            path = PurePosixPath(file.path)
            named = any(
                str(path.relative_to(parent)) in tokens.get(str(parent), ())
                for parent in path.parents
            )
        else:
            continue
        if not named:
            yield Finding(file.path, 1, "no CMake list names this file")
