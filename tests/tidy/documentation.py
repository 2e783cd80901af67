"""Contracts in public headers, links between documents, and the tests that they name."""

import os
import re

from definitions import definitions
from repository import Finding


def documented(repository):
    """Every public type states its contract; an options struct does so in each field."""
    for file in repository.cpp():
        if file.is_public_header:
            for definition in _public(definitions(file)):
                if not _has_doc(file, definition):
                    yield Finding(
                        file.path, definition.first_line, f"no /// above: {definition.head}"
                    )


def _public(found, owner=""):
    """The definitions that need a contract."""
    for definition in found:
        if definition.access != "public" or definition.name == "detail":
            continue
        is_options = definition.name.endswith("Options")
        if definition.kind in ("type", "enum") and not is_options:
            yield definition
        elif definition.kind == "statement" and owner.endswith("Options"):
            if _is_field(definition.head):
                yield definition
        yield from _public(definition.members, definition.name)


def _is_field(head):
    return not re.match(r"(friend|static|using|template|explicit)\b", head) and not re.search(
        r"\)\s*(const)?\s*(noexcept)?\s*(= (default|delete))?$", head
    )


def _has_doc(file, definition):
    above = file.lines[definition.first_line - 2].strip() if definition.first_line > 1 else ""
    return above.startswith("///") or "///<" in file.lines[definition.last_line - 1]


def links(repository):
    """Every relative link of a document leads to a file."""
    for file in repository.files.values():
        if file.suffix != ".md":
            continue
        blank = lambda match: re.sub(r"[^\n]", " ", match[0])
        prose = re.sub(r"(?ms)^```.*?^```", blank, file.text)
        for line, match in file.find(r"\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)", prose):
            target = match[1].split("#")[0]
            if target and not re.match(r"[a-z]+:", target):
                path = os.path.join(repository.root, file.folder, target)
                if not os.path.exists(path):
                    yield Finding(file.path, line, f"link to {target} leads nowhere")


_TEST = re.compile(r"\b(?:TEST|TEST_F|TEST_P|TYPED_TEST)\(\s*(\w+),\s*(\w+)\s*\)")
_OTHER_TEST = re.compile(r"add_test\(\s*NAME\s+(\w+)\.(\w+)")
_NAMED = re.compile(r"\]\((?P<link>[^)\s]+)\)|`(?:\w+/)?(?P<suite>\w+)\.(?!cpp`)(?P<test>\w*\*?)`")

# Where promises are tied to tests.
_PAGES_WITH_TESTS = ("docs/guarantees.md", "docs/reference/checklist.md")


def tests_named(repository):
    """Every test that these pages name exists: in the file that is linked before it, if one is."""
    there = _tests_by_file(repository)
    for page in filter(None, map(repository.files.get, _PAGES_WITH_TESTS)):
        for line, text in enumerate(page.lines, start=1):
            file = None
            for match in _NAMED.finditer(text):
                if match["link"]:
                    linked = os.path.normpath(os.path.join(page.folder, match["link"]))
                    file = linked if linked in there else None
                    continue
                known = there[file] if file else set().union(*there.values())
                if not _is_there(match["suite"], match["test"], known):
                    where = f"in {file}" if file else "anywhere"
                    yield Finding(page.path, line, f"no test {match[0].strip('`')} {where}")


def _tests_by_file(repository):
    there = {}
    for file in repository.files.values():
        pattern = _TEST if file.suffix == ".cpp" else _OTHER_TEST
        found = {match.groups() for match in pattern.finditer(file.text)}
        if found:
            there[file.path] = found
    return there


def _is_there(suite, test, known):
    begin = test.removesuffix("*")
    exact = begin == test
    return any(
        suite == other and (begin == name if exact else name.startswith(begin))
        for other, name in known
    )
