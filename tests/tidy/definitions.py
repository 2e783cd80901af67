"""Namespaces, types and functions of a C++ file: enough of the grammar for sizes and docs."""

import re
from dataclasses import dataclass, field

_LABEL = re.compile(r"^(public|private|protected)$")
_CLOSING = {"(": ")", "{": "}", "[": "]"}


@dataclass
class Definition:
    kind: str  # namespace, type, enum, function or statement
    head: str
    first_line: int
    last_line: int
    access: str = "public"
    members: list = field(default_factory=list)

    @property
    def name(self):
        keywords = r"\b(?:class|struct|union|namespace)\s+(?:\[\[.*?\]\]\s*)?"
        match = re.search(keywords + r"([\w:]+)", _without_template(self.head))
        return match[1] if match else ""

    def walk(self):
        yield self
        for member in self.members:
            yield from member.walk()


def definitions(file):
    """The definitions at namespace scope of a SourceFile, members inside."""
    return _Parser(file).scope(0, len(file.code), "public")


def all_definitions(file):
    for definition in definitions(file):
        yield from definition.walk()


def _without_parentheses(head):
    previous = None
    while previous != head:
        previous, head = head, re.sub(r"\([^()]*\)", "", head)
    return head


def _without_template(head):
    head = head.strip()
    while head.startswith("template"):
        depth = 0
        for index, char in enumerate(head):
            depth += (char == "<") - (char == ">")
            if char == ">" and depth == 0:
                head = head[index + 1 :].strip()
                break
        else:
            return head
    return head


def _kind_of_block(head):
    if re.match(r"(inline\s+)?namespace\b|extern\s*$", head):
        return "namespace"
    bare = _without_template(head)
    if re.match(r"(typedef\s+)?enum\b", bare):
        return "enum"
    if "(" not in bare and re.search(r"\b(class|struct|union)\b", bare):
        return "type"
    outside = _without_parentheses(re.sub(r"operator\s*[^\s\w(]+", "operator", bare))
    if "(" in bare and "=" not in outside:
        return "function"
    return "initializer"


class _Parser:
    def __init__(self, file):
        self.file = file
        self.code = file.code

    def matching(self, start):
        """The offset of the bracket that closes the one at `start`."""
        opening = self.code[start]
        closing = _CLOSING[opening]
        depth = 0
        brackets = re.compile("[" + re.escape(opening + closing) + "]")
        for match in brackets.finditer(self.code, start):
            depth += 1 if match.group() == opening else -1
            if depth == 0:
                return match.start()
        return len(self.code) - 1

    def scope(self, start, end, access):
        found = []
        head_start = position = start
        while position < end:
            char = self.code[position]
            if char == "(":
                position = self.matching(position)
            elif char == ";":
                self.add(found, "statement", head_start, position, access)
                head_start = position + 1
            elif char == ":" and _LABEL.match(self.code[head_start:position].strip()):
                access = self.code[head_start:position].strip()
                head_start = position + 1
            elif char == "{":
                close = self.matching(position)
                if self.block(found, head_start, position, close, access):
                    head_start = close + 1
                position = close
            position += 1
        return found

    def block(self, found, head_start, opening, closing, access):
        """Adds a braced definition; False if the braces belong to a longer statement."""
        kind = _kind_of_block(self.code[head_start:opening].strip())
        following = self.code[closing + 1 : closing + 200].lstrip()[:1]
        if kind == "initializer" or (kind == "function" and following in {"{", ",", ";"}):
            return False
        definition = self.add(found, kind, head_start, opening, access)
        definition.last_line = self.file.line_at(closing)
        if kind in ("namespace", "type"):
            is_class = re.match(r"class\b", _without_template(definition.head))
            definition.members = self.scope(
                opening + 1, closing, "private" if is_class else "public"
            )
        return True

    def add(self, found, kind, start, end, access):
        raw = self.code[start:end]
        first = start + len(raw) - len(raw.lstrip())
        definition = Definition(
            kind, raw.strip(), self.file.line_at(first), self.file.line_at(end), access
        )
        if definition.head:
            found.append(definition)
        return definition
