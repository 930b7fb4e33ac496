#!/usr/bin/env python3
"""What the program is made of: sbom.cdx.json (CycloneDX 1.5) and THIRD-PARTY.md, the licences of everything that is linked.

    python3 ci/materials.py TARGET FOLDER

Read from `cargo metadata`: what `sweep` needs at run time on TARGET, without crates of tests, benches and builds. A crate that says no licence is
an error. Nothing depends on the clock or on this machine's folders: the time is SOURCE_DATE_EPOCH.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

ROOT = "harness"
# Files of a crate that hold the terms, by the beginning of their name.
TERMS = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|UNLICENSE|COPYRIGHT)", re.IGNORECASE)
# An entry of Cargo.lock that has a checksum.
LOCKED = re.compile(r'\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "([0-9a-f]{64})"')
# What comes along as source inside a crate or a template: name, version, licence, where from, file of the terms or a sentence.
BUNDLED = [
    ("uPlot", "1.6.32", "MIT", "https://github.com/leeoniya/uPlot", "reports/template/uplot-1.6.32/LICENSE"),
    ("SQLite", None, "blessing", "https://sqlite.org", "SQLite is in the public domain: https://sqlite.org/copyright.html"),
]


def linked(metadata):
    """The packages that the program links, sorted by name and version."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    (start,) = (key for key in metadata["workspace_members"] if packages[key]["name"] == ROOT)
    found, left = {start}, [start]
    while left:
        for dependency in nodes[left.pop()]["deps"]:
            is_linked = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if is_linked and dependency["pkg"] not in found:
                found.add(dependency["pkg"])
                left.append(dependency["pkg"])
    edges = {
        key: sorted(
            dependency["pkg"]
            for dependency in nodes[key]["deps"]
            if dependency["pkg"] in found and any(kind["kind"] is None for kind in dependency["dep_kinds"])
        )
        for key in found
    }
    order = sorted((packages[key] for key in found), key=lambda package: (package["name"], package["version"]))
    return order, edges


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    licence = package["license"] or (package["license_file"] and "see THIRD-PARTY.md")
    if not licence:
        sys.exit(f"error: the crate {package['name']} {package['version']} says no licence")
    made = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
        "licenses": [{"expression": licence.replace("/", " OR ")}]
        if package["license"]
        else [{"license": {"name": licence}}],
    }
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        made["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["description"]:
        made["description"] = " ".join(package["description"].split())
    return made


def bundled_component(name, version, licence, url):
    made = {"type": "library", "bom-ref": f"bundled/{name}", "name": name}
    if version:
        made["version"] = version
    made["licenses"] = [{"license": {"id": licence}}]
    made["externalReferences"] = [{"type": "website", "url": url}]
    return made


def terms(package):
    """The texts of a crate's licences, as they are shipped with it."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = [entry for entry in sorted(folder.iterdir()) if entry.is_file() and TERMS.match(entry.name)]
    if package["license_file"]:
        named = folder / package["license_file"]
        files += [named] if named not in files and named.is_file() else []
    return [entry.read_text(encoding="utf-8", errors="replace").strip() for entry in files]


def third_party(packages):
    lines = ["# Licences of what is linked into `sweep`", ""]
    texts = {}
    for package in packages:
        lines.append(f"- {package['name']} {package['version']}: {package['license'] or 'see below'}")
        for text in terms(package):
            texts.setdefault(text, []).append(f"{package['name']} {package['version']}")
    for name, version, licence, url, where in BUNDLED:
        lines.append(f"- {name}{f' {version}' if version else ''}: {licence} ({url})")
        file = pathlib.Path(where)
        text = file.read_text(encoding="utf-8").strip() if file.is_file() else where
        texts.setdefault(text, []).append(name)
    for text, owners in texts.items():
        lines += ["", f"## {', '.join(owners)}", "", "```text", text.replace("```", "'''"), "```"]
    return "\n".join(lines) + "\n"


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    packages, edges = linked(metadata)
    lock = pathlib.Path("Cargo.lock").read_text(encoding="utf-8")
    checksums = {(name, version): checksum for name, version, checksum in LOCKED.findall(lock)}
    own = next(package for package in packages if package["name"] == ROOT)
    names = {package["id"]: reference(package) for package in packages}
    components = [component(package, checksums) for package in packages if package is not own]
    components += [bundled_component(*bundled[:4]) for bundled in BUNDLED]
    at = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
    sbom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {**component(own, checksums), "type": "application", "name": "sweep"},
            "properties": [{"name": "target", "value": target}],
        },
        "components": components,
        "dependencies": [
            {"ref": reference(package), "dependsOn": sorted(names[key] for key in edges[package["id"]])}
            for package in packages
        ],
    }
    # The same materials have the same number.
    sbom["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(sbom, sort_keys=True))}"
    (folder / "sbom.cdx.json").write_text(json.dumps(sbom, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "THIRD-PARTY.md").write_text(third_party(packages), encoding="utf-8")
    print(f"{len(components)} components")


if __name__ == "__main__":
    main()
