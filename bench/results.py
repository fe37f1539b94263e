"""Results of benchmarks: what was measured, on what machine, with which versions."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """Size and versions of this machine."""
    memory_kb = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1])
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line)
    podman = subprocess.run(["podman", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kb / 2**20, 1),
        "distribution": release["PRETTY_NAME"].strip('"'),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ansible_core": version("ansible-core"),
        "podman": podman,
    }


def write(name: str, figures: dict[str, Any]) -> Path:
    """Write one benchmark's figures to bench/results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}.json"
    document = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "machine": machine(), **figures}
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"written: bench/results/{target.name}")
    return target
