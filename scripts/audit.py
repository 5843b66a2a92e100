"""Say what a checkout of PyPA's advisory database knows of the locked versions, where no service can be asked.

    python scripts/audit.py ADVISORIES [.ci/requirements.txt]

ADVISORIES is a checkout of pypa/advisory-database. `pip-audit`, which asks a service, knows the newest: this is for
machines that reach none. Exit code 1 where something is known.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml  # noqa: TID253  # a script, not a start
from packaging.version import Version


def hits(version: str, affected: dict[str, Any]) -> bool:
    """Whether an entry names this version, or a range that holds it."""
    if version in affected.get("versions", ()):
        return True
    for range_ in affected.get("ranges", ()):
        if range_["type"] != "ECOSYSTEM":
            continue
        inside = False
        for event in range_["events"]:
            if "introduced" in event:
                inside = inside or Version(version) >= Version(event["introduced"])
            elif "fixed" in event:
                inside = inside and Version(version) < Version(event["fixed"])
            elif "last_affected" in event:
                inside = inside and Version(version) <= Version(event["last_affected"])
        if inside:
            return True
    return False


def main(advisories: str, lock: str = ".ci/requirements.txt") -> int:
    """Print what is known of each locked version, and how much was looked at."""
    locked = re.findall(r"^([\w.-]+)==([^\s;\\]+)", Path(lock).read_text(encoding="utf-8"), re.MULTILINE)
    read = found = 0
    for name, version in locked:
        for path in sorted((Path(advisories) / "vulns" / name).glob("*.yaml")):
            entry = yaml.safe_load(path.read_text(encoding="utf-8"))
            read += 1
            if not entry.get("withdrawn") and any(hits(version, each) for each in entry["affected"]):
                found += 1
                sys.stdout.write(f"{name} {version}: {entry['id']} {' '.join(entry.get('aliases', ()))}\n")
    sys.stdout.write(f"{len(locked)} versions, {read} advisories of their packages, {found} of their versions\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
