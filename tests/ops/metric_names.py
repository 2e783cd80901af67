#!/usr/bin/env python3
"""usage: metric_names.py REPOSITORY

Alert rules and dashboard ask only for metrics that docs/reference/metrics.md lists, and each of
those is in one of them.
"""

import json
import pathlib
import re
import sys

METRIC = re.compile(r"\binstep_[a-z_]+")


def main(root):
    page = (root / "docs/reference/metrics.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(instep_[a-z_]+)`", page, re.MULTILINE))
    rules = (root / "ops/prometheus/instep.rules.yml").read_text(encoding="utf-8")
    dashboard = json.loads((root / "ops/grafana/instep.json").read_text(encoding="utf-8"))
    queries = "\n".join(
        target["expr"] for panel in dashboard["panels"] for target in panel["targets"]
    )
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall(rules + queries)}
    for name in sorted(asked - listed):
        print(f"ops/ asks for {name}, which docs/reference/metrics.md does not list")
    for name in sorted(listed - asked):
        print(f"{name} is neither in the alert rules nor on the dashboard")
    return 1 if asked != listed else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
