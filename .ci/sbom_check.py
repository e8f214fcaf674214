"""Holds SBOMs against Cargo.lock: every crate is in it, at that version and with that hash."""

import json
import sys
import tomllib
from pathlib import Path

LOCKED = {
    (package["name"], package["version"]): package.get("checksum")
    for package in tomllib.loads(Path("Cargo.lock").read_text())["package"]
}

for path in sys.argv[1:]:
    components = json.loads(Path(path).read_text())["components"]
    wrong = [
        f"{component['name']} {component['version']}"
        for component in components
        if LOCKED.get((component["name"], component["version"]))
        != next((entry["content"] for entry in component.get("hashes", [])), None)
        or not component.get("licenses") and "path+file" not in component["bom-ref"]
    ]
    if wrong or len(components) < 50:
        sys.exit(f"{path} has {len(components)} crates; not as locked, or without a licence: {', '.join(wrong)}")
    print(f"{path}: {len(components)} crates")
