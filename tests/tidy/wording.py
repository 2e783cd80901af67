"""What must not be written, in comments or in documents."""

from repository import Finding

_THESE_RULES = "tests/tidy/"


def leftovers(repository):
    """Nothing is left for later."""
    for file in repository.files.values():
        if not file.path.startswith(_THESE_RULES):
            for line, match in file.find(r"\b(TODO|FIXME|XXX)\b", file.prose):
                yield Finding(file.path, line, match[0])


def ornament(repository):
    """Plain sentences: no pictures, no praise."""
    praise = r"(?i)\b(comprehensive|seamless|blazing|robust)(ly)?\b"
    pictures = r"[\U0001F300-\U0001FAFF\u2705\u274C\u2728]"
    for file in repository.files.values():
        if not file.path.startswith(_THESE_RULES):
            for line, match in file.find(f"{praise}|{pictures}", file.prose):
                yield Finding(file.path, line, f'"{match[0]}"')
