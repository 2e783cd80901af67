"""C++ that the compiler takes and this project does not."""

import re

from repository import Finding

_PRINTERS = ("apps/", "src/base/", "src/telemetry/")
_OWNED = r"unique_ptr<[^;{}()]*>\s*(\w+\s*)?[({]\s*$"


def sleeps(repository):
    """Tests wait for a condition, never for an amount of time."""
    for file in repository.cpp():
        if file.is_test and file.path != "tests/support/eventually.cpp":
            for line, match in file.find(r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\("):
                yield Finding(file.path, line, f"{match[1]} in a test: use eventually()")


def console(repository):
    """The library prints nothing: the log is telemetry's, and base speaks before it aborts."""
    pattern = r"\bstd::c(out|err|log)\b|(?<![\w.>])(f?printf|fputs|puts)\s*\(|\bfmt::print\b"
    for file in repository.cpp():
        if file.is_production and not file.path.startswith(_PRINTERS):
            for line, match in file.find(pattern):
                yield Finding(file.path, line, f"{match[0].rstrip(' (')} outside apps/")


def ownership(repository):
    """Memory has an owner from its first moment."""
    pattern = r"(?<!operator )\bnew\b(?!\s*\()|(?<!= )(?<!operator )\bdelete\b"
    for file in repository.cpp():
        for line, match in file.find(pattern):
            before = file.code[max(0, match.start() - 120) : match.start()]
            if not re.search(_OWNED, before):
                yield Finding(file.path, line, f"bare {match[0]}")


def catch_all(repository):
    """What user code throws is caught where it is called: by the consumer and by the bus."""
    calls = {"src/consumer": 1, "src/bus": 1}
    for file in repository.cpp():
        for line, _ in file.find(r"\bcatch\s*\(\s*\.\.\.\s*\)"):
            if file.path.endswith("/main.cpp"):
                continue
            folder = file.path.rpartition("/")[0]
            if calls.get(folder):
                calls[folder] = 0
                continue
            yield Finding(
                file.path, line, "catch (...) outside the calls of handlers, listeners and main()"
            )
