#!/usr/bin/env python3
"""usage: tidy.py [--root FOLDER] [RULE...]

Holds the repository to the rules that a compiler does not know. Without RULE, all of them.
"""

import argparse
import os
import sys

import calls
import documentation
import layering
import naming
import sizes
import wording
from repository import Repository

RULES = {
    rule.__name__: rule
    for rule in (
        layering.layers,
        layering.cycles,
        layering.public_includes,
        layering.production_includes,
        sizes.file_length,
        sizes.line_length,
        sizes.function_length,
        sizes.interface_size,
        naming.file_names,
        naming.listed,
        calls.sleeps,
        calls.console,
        calls.ownership,
        calls.catch_all,
        documentation.documented,
        wording.leftovers,
        wording.ornament,
        documentation.links,
        documentation.tests_named,
    )
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("rules", nargs="*", metavar="RULE")
    options = parser.parse_args()
    unknown = set(options.rules) - set(RULES)
    if unknown:
        parser.error(f"no rule {', '.join(sorted(unknown))}; there are: {', '.join(RULES)}")

    repository = Repository(options.root)
    count = 0
    for name in options.rules or RULES:
        for finding in RULES[name](repository):
            count += 1
            print(f"{finding.path}:{finding.line}: {name}: {finding.message}")
    print(f"tidy: {len(repository.files)} files, {count} findings", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
