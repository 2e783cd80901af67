"""How much stands in one place."""

from definitions import all_definitions
from repository import Finding

COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
PUBLIC_HEADER_LINES_MAX = 200
SOURCE_LINES_MAX = 800
TEST_LINES_MAX = 1000
PURE_VIRTUALS_MAX = 10

_PROSE_AND_DATA = (".md", ".json", "")


def lines_max(file):
    if file.is_public_header:
        return PUBLIC_HEADER_LINES_MAX
    return TEST_LINES_MAX if file.is_test else SOURCE_LINES_MAX


def file_length(repository):
    """A file is one room."""
    for file in repository.files.values():
        if file.suffix not in _PROSE_AND_DATA and len(file.lines) > lines_max(file):
            count = len(file.lines)
            yield Finding(file.path, count, f"{count} lines; at most {lines_max(file)}")


def line_length(repository):
    """No line is wider than a review window."""
    for file in repository.files.values():
        if file.suffix in _PROSE_AND_DATA:
            continue
        for number, line in enumerate(file.lines, 1):
            if len(line) > COLUMNS_MAX:
                yield Finding(file.path, number, f"{len(line)} columns; at most {COLUMNS_MAX}")


def function_length(repository):
    """A function fits on a screen."""
    for file in repository.cpp():
        for definition in all_definitions(file):
            count = definition.last_line - definition.first_line + 1
            if definition.kind == "function" and count > FUNCTION_LINES_MAX:
                yield Finding(
                    file.path,
                    definition.first_line,
                    f"a function of {count} lines; at most {FUNCTION_LINES_MAX}",
                )


def interface_size(repository):
    """An interface is small enough to have a second implementation."""
    for file in repository.cpp():
        for definition in all_definitions(file):
            pure = [m for m in definition.members if m.head.replace(" ", "").endswith("=0")]
            pure = [m for m in pure if "virtual" in m.head]
            if len(pure) > PURE_VIRTUALS_MAX:
                yield Finding(
                    file.path,
                    definition.first_line,
                    f"{definition.name} has {len(pure)} pure virtual functions; "
                    f"at most {PURE_VIRTUALS_MAX}",
                )
