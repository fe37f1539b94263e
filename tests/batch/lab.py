"""The hosts on which batches are tried, and the controllers that try them: this machine's ansible-core, and newer ones inside a host."""

from __future__ import annotations

import functools
import io
import json
import os
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
WORK = ROOT / ".cache" / "batch_lab"
FLEET = HERE / "fleet.yml"
REMOTE = "/opt/lab"
NEWER = ("2.20", "2.21")


def fleet(command: str) -> None:
    subprocess.run([sys.executable, "-m", "tools.fleet", command, "-i", str(FLEET.relative_to(ROOT))], cwd=ROOT, check=True)


@functools.cache
def hosts() -> dict[str, dict[str, Any]]:
    """The hosts' variables, as the fleet's inventory gives them."""
    listed = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(FLEET), "--list"],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(listed.stdout)["_meta"]["hostvars"]


def ssh(host: str, command: str, *, check: bool = True, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command as root on a host of the lab."""
    known = hosts()[host]
    line = [
        *["ssh", "-q", "-o", "BatchMode=yes", "-i", known["ansible_ssh_private_key_file"], *shlex.split(known["ansible_ssh_common_args"])],
        f"{known['ansible_user']}@{known['ansible_host']}",
        f"sudo sh -c {shlex.quote(command)}",
    ]
    return subprocess.run(line, input=data, stdin=None if data is not None else subprocess.DEVNULL, capture_output=True, check=check)


class Controller:
    """A place that ansible-playbook runs in, and three hosts that it reaches over SSH."""

    def __init__(self, core: str, names: list[str]) -> None:
        self.core = core
        self.names = names

    def environment(self, base: str) -> dict[str, str]:
        return {
            "ANSIBLE_CONFIG": f"{base}/ansible.cfg",
            "ANSIBLE_COLLECTIONS_PATH": f"{base}/collections:{base}/tests/batch/collections",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_INJECT_FACT_VARS": "0",
        }

    def inventory(self, key: str, known_hosts: str) -> dict[str, Any]:
        kept = ("ansible_host", "ansible_user")
        arguments = f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        connection = {"ansible_ssh_private_key_file": key, "ansible_ssh_common_args": arguments}
        return {"all": {"hosts": {name: {variable: hosts()[name][variable] for variable in kept} | connection for name in self.names}}}

    def playbook(self, plays: list[dict], *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run plays; whatever they leave in `out/` is for `result`."""
        raise NotImplementedError

    def result(self, name: str) -> Any:
        raise NotImplementedError


class Here(Controller):
    """The project's own environment, on this machine."""

    def __init__(self, core: str = "2.19") -> None:
        super().__init__(core, ["core-node-1", "core-node-2", "core-node-3"])
        (WORK / "out").mkdir(parents=True, exist_ok=True)
        for directory in ("files", "templates"):
            link = WORK / directory
            if not link.is_symlink():
                link.symlink_to(HERE / directory)
        first = hosts()[self.names[0]]
        known = next(word for word in shlex.split(first["ansible_ssh_common_args"]) if word.startswith("UserKnownHostsFile=")).partition(
            "="
        )[2]
        (WORK / "inventory.yml").write_text(yaml.safe_dump(self.inventory(first["ansible_ssh_private_key_file"], known)))

    def playbook(self, plays: list[dict], *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        (WORK / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(WORK / "inventory.yml"),
            str(WORK / "play.yml"),
            *arguments,
        ]
        environment = os.environ | self.environment(str(ROOT)) | (env or {})
        return subprocess.run(command, cwd=WORK, env=environment, capture_output=True, text=True, check=False)

    def result(self, name: str) -> Any:
        return json.loads((WORK / "out" / name).read_text())


class Inside(Controller):
    """A newer ansible-core inside a Debian 13 host: its wheels are fetched here by pip, for that host's Python, and taken there."""

    def __init__(self, core: str, pool: str = "newer") -> None:
        super().__init__(core, [f"core-{pool}-{number}" for number in (1, 2, 3)])
        self.host = self.names[0]
        self._bring_core()
        self._bring_project()

    def _bring_core(self) -> None:
        lock = HERE / "requirements" / f"core-{self.core}.txt"
        target = WORK / f"core-{self.core}"
        stamp = target / "lock.txt"
        if not stamp.exists() or stamp.read_text() != lock.read_text():
            subprocess.run(["rm", "-rf", str(target)], check=True)
            subprocess.run(
                [
                    *[
                        sys.executable,
                        "-m",
                        "pip",
                        "install",
                        "-q",
                        "--target",
                        str(target),
                        "--only-binary=:all:",
                        "--require-hashes",
                        "--no-deps",
                        # Debian 12's pip compares with its own Python, whatever --python-version says.
                        "--ignore-requires-python",
                    ],
                    *["--python-version", "3.13", "--implementation", "cp", "--abi", "cp313", "--abi", "abi3", "--abi", "none"],
                    *["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_28_x86_64", "--platform", "any", "-r", str(lock)],
                ],
                check=True,
            )
            stamp.write_text(lock.read_text())
        there = ssh(self.host, f"cat {REMOTE}/core-{self.core}/lock.txt", check=False).stdout
        if there.decode() != lock.read_text():
            self.bring({f"core-{self.core}": target})

    def _bring_project(self) -> None:
        own = ROOT / "collections/ansible_collections/webtrends/optimize"
        key = Path(hosts()[self.host]["ansible_ssh_private_key_file"])
        self.bring(
            {
                "collections/ansible_collections/webtrends/optimize": own,
                "tests/batch": HERE,
                "ansible.cfg": ROOT / "ansible.cfg",
                "key": key,
            }
        )
        inventory = yaml.safe_dump(self.inventory(f"{REMOTE}/key", f"{REMOTE}/known_hosts"))
        addresses = " ".join(str(hosts()[name]["ansible_host"]) for name in self.names)
        ssh(
            self.host,
            f"cd {REMOTE} && chmod 0600 key && mkdir -p out && cat > inventory.yml"
            f" && ssh-keyscan -t ed25519 {addresses} > known_hosts 2>/dev/null"
            " && ln -sfn tests/batch/files files && ln -sfn tests/batch/templates templates",
            data=inventory.encode(),
        )

    def bring(self, sources: dict[str, Path]) -> None:
        """Take files and directories to the host, under these names."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, path in sources.items():
                archive.add(path, name, filter=lambda entry: None if "__pycache__" in entry.name else entry)
        ssh(self.host, f"mkdir -p {REMOTE} && tar -xf - -C {REMOTE} --no-same-owner", data=packed.getvalue())

    def playbook(self, plays: list[dict], *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        ssh(self.host, f"cat > {REMOTE}/play.yml", data=yaml.safe_dump(plays, sort_keys=False).encode())
        settings = self.environment(REMOTE) | (env or {}) | {"PYTHONPATH": f"{REMOTE}/core-{self.core}", "LC_ALL": "C.UTF-8"}
        words = " ".join(f"{key}={shlex.quote(value)}" for key, value in settings.items())
        command = f"cd {REMOTE} && {words} python3 -m ansible playbook -i inventory.yml play.yml {shlex.join(arguments)}"
        done = ssh(self.host, command, check=False)
        return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())

    def result(self, name: str) -> Any:
        return json.loads(ssh(self.host, f"cat {REMOTE}/out/{name}").stdout)


@functools.cache
def controller(core: str) -> Controller:
    return Inside(core) if core in NEWER else Here(core)
