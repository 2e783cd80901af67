"""Who may include whom."""

import os
import tomllib

from repository import Finding


class LayerTable:
    def __init__(self, path=os.path.join(os.path.dirname(__file__), "layers.toml")):
        with open(path, "rb") as file:
            table = tomllib.load(file)
        self.layer_of = {}
        self.backends = set()
        for number, layer in enumerate(table["layer"]):
            self.layer_of.update({module: number for module in layer["modules"]})
            if layer.get("backends"):
                self.backends.update(layer["modules"])
        self.backend_users = set(table["rules"]["backend_users"])
        self.same_layer = {module: set(uses) for module, uses in table["same_layer"].items()}

    def module_of(self, path):
        """The module a path belongs to; None outside include/instep and src."""
        for base in ("include/instep/", "src/"):
            if path.startswith(base):
                parts = path[len(base) :].split("/")[:-1]
                nested = "/".join(parts[:2])
                return nested if nested in self.layer_of else "/".join(parts[:1])
        return None

    def objection(self, user, used):
        """Why module `user` may not include module `used`; None if it may."""
        for module in (user, used):
            if module not in self.layer_of:
                return f"module {module} is not in tests/tidy/layers.toml"
        if used in self.backends and user not in self.backend_users:
            return f"backend {used} is known by name only to {', '.join(self.backend_users)}"
        above = self.layer_of[user] - self.layer_of[used]
        if above < 0:
            return f"{user} is below {used}"
        if above == 0 and used not in self.same_layer.get(user, ()):
            return f"{user} and {used} share a layer, and layers.toml has no edge between them"
        return None


def layers(repository):
    """Includes go down the layer table, or along an edge that it names."""
    table = LayerTable()
    for file in repository.cpp():
        user = table.module_of(file.path)
        if not user:
            continue
        for include in file.includes:
            path = repository.resolve(file, include)
            used = table.module_of(path) if path else None
            if not used or used == user or (file.is_test and used in table.backends):
                continue
            reason = table.objection(user, used)
            if not reason and path.startswith("src/"):
                reason = f"{path} is private to {used}"
            if reason:
                yield Finding(file.path, include.line, reason)


def cycles(repository):
    """No header includes itself through others."""
    edges = {
        file.path: sorted(
            {path for include in file.includes if (path := repository.resolve(file, include))}
        )
        for file in repository.cpp()
    }
    done = set()

    def visit(path, trail):
        if path in trail:
            loop = trail[trail.index(path) :] + [path]
            yield Finding(path, 1, "include cycle: " + " -> ".join(loop))
        elif path not in done:
            for target in edges.get(path, ()):
                yield from visit(target, trail + [path])
            done.add(path)

    for path in edges:
        yield from visit(path, [])


def public_includes(repository):
    """Public headers name the standard library and this project, nothing else."""
    for file in repository.cpp():
        if not file.is_public_header:
            continue
        for include in file.includes:
            if include.angled and not include.name.replace("_", "").isalnum():
                yield Finding(file.path, include.line, f"<{include.name}> in a public header")
            elif not include.angled and not include.name.startswith("instep/"):
                yield Finding(file.path, include.line, f'"{include.name}" is not installed')


def production_includes(repository):
    """What ships does not use what only tests have."""
    for file in repository.cpp():
        if not file.is_production:
            continue
        for include in file.includes:
            if include.name.startswith(("tests/", "gtest/", "gmock/")):
                yield Finding(file.path, include.line, f"{include.name} outside of tests")
