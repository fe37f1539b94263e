"""The conventions of CONTRIBUTING.md that can be tested: a rule takes the project's directory and returns a sentence per violation."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

Rule = Callable[[Path], list[str]]

VERBS = ("health", "drain", "undrain", "restart_needed")
STATEFUL = {"zookeeper", "kafka", "clickhouse"}
LINES = 400

OTHERS = {"node_modules", "__pycache__", "build", "dist"}
NOT_WRITTEN_BY_HAND = re.compile(r"^(LICENSE|(.*/)?requirements[^/]*(/[^/]*)?\.txt|.*\.(svg|json|lock|png|gz|log)|.*lock.*)$")
TEXT = {".py", ".yml", ".yaml", ".j2", ".sh", ".md", ".toml", ".cfg", ".in", ".txt", ".xml", ".sql", ".service", ".conf", ".json", ""}

FQCN = re.compile(r"^[a-z_0-9]+\.[a-z_0-9]+\.[a-z_0-9]+$")
SENSITIVE = re.compile(r"secret|password|passphrase|private_?key|_token\b", re.IGNORECASE)
GIVEN = "the wiring in group_vars gives a role what it needs"
KEYWORDS = {"name", "when", "when_changed", "changed_when", "no_log", "loop", "loop_control", "notify", "vars"}

# Parts, since the names themselves may stand in no file.
REGISTRIES = (
    ("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"), ("crates", "io"), ("proxy", "golang", "org"),
    ("repo", "maven", "apache", "org"), ("repo1", "maven", "org"), ("deb", "debian", "org"), ("security", "debian", "org"),
    ("galaxy", "ansible", "com"),
)  # fmt: skip
REGISTRY = re.compile(r"\b(" + "|".join(r"\.".join(map(re.escape, parts)) for parts in REGISTRIES) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.*-])/(work/|root/\.(ansible|cache|config|local|ssh)\b)[\w./-]*")


class Loader(yaml.SafeLoader):
    """Reads Ansible's YAML; its tags (!vault, !unsafe) stand for their text."""


Loader.add_multi_constructor("!", lambda loader, suffix, node: loader.construct_scalar(node) if isinstance(node, yaml.ScalarNode) else None)


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader) if path.is_file() else None


def files(root: Path, *tops: str) -> Iterator[Path]:
    """The project's own text files, links left out (what they lead to is met where it is)."""
    for top in tops or (".",):
        for directory, names, found in os.walk(root / top):
            inside = Path(directory)
            names[:] = [name for name in names if name not in OTHERS and (not name.startswith(".") or name in (".ci", ".config"))]
            for name in sorted(found):
                path = inside / name
                if path.suffix in TEXT and not path.is_symlink():
                    yield path


def roles(root: Path) -> list[Path]:
    return sorted(path for path in (root / "roles").glob("*") if path.is_dir())


def specs(role: Path) -> dict[str, dict]:
    return (load(role / "meta/argument_specs.yml") or {}).get("argument_specs") or {}


def options(role: Path) -> dict[str, dict]:
    return specs(role).get("main", {}).get("options") or {}


def tasks_of(role: Path) -> Iterator[tuple[Path, dict]]:
    """Every task of a role, those in blocks too."""
    for path in sorted(role.glob("tasks/**/*.yml")) + sorted(role.glob("handlers/*.yml")):
        pending = list(load(path) or [])
        while pending:
            task = pending.pop(0)
            for part in ("block", "rescue", "always"):
                pending += task.get(part) or []
            yield path, task


def included(role: Path) -> set[str]:
    """Roles that a role includes."""
    names = set()
    for _, task in tasks_of(role):
        for module in ("ansible.builtin.include_role", "ansible.builtin.import_role"):
            if isinstance(task.get(module), dict):
                names.add(task[module].get("name", ""))
    return names


def defaults_are_the_spec(root: Path) -> list[str]:
    """defaults/main.yml is exactly the optional options of `main`, with the same values."""
    problems = []
    for role in roles(root):
        wanted = {name: option.get("default", "no default") for name, option in options(role).items() if not option.get("required")}
        found = load(role / "defaults/main.yml") or {}
        for name in sorted(wanted.keys() | found.keys()):
            if name not in found:
                problems.append(f"{role.name}: optional option {name} is not in defaults/main.yml (found none, expected {wanted[name]!r})")
            elif name not in wanted:
                problems.append(f"{role.name}: {name} is in defaults/main.yml and is no optional option of the spec's main")
            elif found[name] != wanted[name] or type(found[name]) is not type(wanted[name]):
                problems.append(f"{role.name}: default of {name} is {found[name]!r} in defaults/main.yml, {wanted[name]!r} in the spec")
    return problems


def roles_are_whole(root: Path) -> list[str]:
    """A spec with `main`, a spec for each verb, a scenario; the four verbs where there is state."""
    problems = []
    for role in roles(root):
        found = specs(role)
        if "main" not in found:
            problems.append(f"{role.name}: meta/argument_specs.yml has no entry point main")
        if not (root / "molecule" / role.name / "molecule.yml").is_file():
            problems.append(f"{role.name}: has no scenario (molecule/{role.name}/molecule.yml)")
        verbs = {path.stem for path in role.glob("tasks/*.yml")} & set(VERBS)
        if role.name in STATEFUL and verbs != set(VERBS):
            problems.append(f"{role.name}: is stateful and lacks {', '.join(sorted(set(VERBS) - verbs))}")
        problems += [f"{role.name}: tasks/{verb}.yml has no spec of its own" for verb in sorted(verbs - found.keys())]
        lacking = [entry for entry in found if not (role / f"tasks/{entry}.yml").is_file()]
        problems += [f"{role.name}: the spec's {entry} has no tasks/{entry}.yml" for entry in lacking]
    return problems


def batch_lists(role: Path) -> Iterator[tuple[str, list]]:
    """The lists of items: written in a batch task, or kept as variables that a batch joins."""
    for path, task in tasks_of(role):
        tasks = (task.get("webtrends.optimize.batch") or {}).get("tasks")
        if isinstance(tasks, list):
            yield f"{role.name}/{path.name}", tasks
    for path in sorted(role.glob("vars/**/*.yml")):
        for name, value in (load(path) or {}).items():
            if isinstance(value, list) and value and all(isinstance(item, dict) and any(map(FQCN.match, item)) for item in value):
                yield f"{role.name}/vars/{path.name}: {name}", value


def leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every value of nested arguments, with the key that it stands under."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(str(name), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(key, inner)
    else:
        yield key, value


def mentions_secret(key: str, value: Any) -> bool:
    """A template that names a secret, or anything but a locked password under a secret's key."""
    if not isinstance(value, str):
        return False
    return bool(("{{" in value and SENSITIVE.search(value)) or (SENSITIVE.search(key) and value not in ("", "!", "*")))


def batch_items_are_tasks(root: Path) -> list[str]:
    """Each item has a name, one module by its full name, and no_log where its arguments mention a secret."""
    problems = []
    for role in roles(root):
        for where, items in batch_lists(role):
            for number, item in enumerate(items, 1):
                label = f"{where}: item {number} ({item.get('name', 'without a name')})"
                modules = [key for key in item if key not in KEYWORDS]
                if "name" not in item:
                    problems.append(f"{label} has no name")
                if len(modules) != 1 or not FQCN.match(modules[0]):
                    problems.append(f"{label} names {modules}, expected one module by its full name")
                elif "no_log" not in item and any(mentions_secret(*leaf) for leaf in leaves("", [item[modules[0]], item.get("loop")])):
                    problems.append(f"{label} mentions a secret and has no no_log")
    return problems


def roles_know_no_inventory(root: Path) -> list[str]:
    """No group names, and no variable of another role (but of one that it includes: a thin role's dictionary)."""
    problems = []
    owned = {role.name: set(options(role)) | set(load(role / "vars/main.yml") or {}) for role in roles(root)}
    for role in roles(root):
        allowed = included(role) | {role.name}
        foreign = {name: owner for owner, names in owned.items() if owner not in allowed for name in names - owned[role.name]}
        for path in files(root, f"roles/{role.name}"):
            text = path.read_text(encoding="utf-8")
            where = path.relative_to(root)
            for match in re.finditer(r"\b(group_names|hostvars)\b|(?<![\w.-])groups(\[|\.\w)", text):
                problems.append(f"{where}: uses the inventory ({match[0]}); {GIVEN}")
            for word in sorted(set(re.findall(r"\w+", text)) & foreign.keys()):
                problems.append(f"{where}: uses {word}, a variable of role {foreign[word]}; {GIVEN}")
    return problems


def thin_roles_are_thin(root: Path) -> list[str]:
    """A role over `service` is data: each task includes a role, and nothing is decided."""
    problems = []
    for role in roles(root):
        if "service" not in included(role):
            continue
        for path, task in tasks_of(role):
            extra = set(task) - {"name", "vars", "ansible.builtin.include_role", "ansible.builtin.import_role"}
            if extra:
                task_name = task.get("name")
                problems.append(f"{role.name}/{path.name}: {task_name!r} has {', '.join(sorted(extra))}; logic belongs to role service")
    return problems


def templates_say_who_manages_them(root: Path) -> list[str]:
    """By itself or by a variable of the role. JSON has no comments, and a migration is an unchangeable text, known by its checksum."""
    problems = []
    for role in roles(root):
        own = {name for path in role.glob("vars/**/*.yml") for name, value in (load(path) or {}).items() if "ansible_managed" in str(value)}
        for path in sorted(role.glob("templates/**/*.j2")):
            words = set(re.findall(r"\w+", path.read_text(encoding="utf-8")))
            if not path.name.endswith((".json.j2", ".sql.j2")) and not words & (own | {"ansible_managed"}):
                problems.append(f"{path.relative_to(root)}: does not say ansible_managed")
    return problems


def variables_have_their_prefix(root: Path) -> list[str]:
    """`<role>_` for options, `__<role>_` for internals. In the wiring of a role also the pool's own, and what the shared tests expect."""
    problems = []
    names = {role.name for role in roles(root)}
    for role in roles(root):
        prefixes = (f"{role.name}_", f"__{role.name}_")
        found = [("spec", name) for name in options(role)]
        found += [(path.name, name) for path in role.glob("vars/**/*.yml") for name in load(path) or {}]
        found += [(path.name, task["register"]) for path, task in tasks_of(role) if "register" in task]
        wrong = [(where, name) for where, name in found if not name.startswith(prefixes) and name != f"__{role.name}"]
        problems += [f"{role.name}: {name} ({where}) does not begin with {prefixes[0]}" for where, name in wrong]
    for path in files(root, "inventories"):
        if "group_vars" in path.parts and path.stem in names:
            allowed = (f"{path.stem}_", f"{path.parent.name}_", "expect_")
            odd = [name for name in load(path) or {} if not name.startswith(allowed)]
            problems += [f"{path.relative_to(root)}: {name} does not begin with {path.stem}_" for name in odd]
    return problems


def failures_count(root: Path) -> list[str]:
    """ignore_errors, ignore_unreachable and `failed_when: false` need their reason as a comment, above or behind."""
    problems = []
    for path in files(root, "roles", "playbooks", "molecule"):
        lines = path.read_text(encoding="utf-8").splitlines() if path.suffix in (".yml", ".yaml") else []
        for number, line in enumerate(lines):
            if re.match(r"\s*-?\s*(ignore_errors|ignore_unreachable):|\s*-?\s*failed_when:\s*false\b", line):
                before = lines[number - 1].strip() if number else ""
                if "#" not in line and not before.startswith("#"):
                    problems.append(f"{path.relative_to(root)}:{number + 1}: {line.strip()} without a reason")
    return problems


def files_are_short(root: Path) -> list[str]:
    problems = []
    for path in files(root):
        name = path.relative_to(root).as_posix()
        count = 0 if NOT_WRITTEN_BY_HAND.match(name) else len(path.read_text(encoding="utf-8").splitlines())
        if count > LINES:
            problems.append(f"{name}: has {count} lines, expected at most {LINES}")
    return problems


def nothing_names_a_machine(root: Path) -> list[str]:
    """No path of the machine where it was written, no package registry's host name."""
    problems = []
    for path in files(root):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            match = MACHINE_PATH.search(line) or REGISTRY.search(line)
            if match and path.name != "rules.py":
                problems.append(f"{path.relative_to(root)}:{number}: names {match[0]}")
    return problems


def playbooks_are_documented(root: Path) -> list[str]:
    pages = [path for path in [root / "README.md", *sorted(root.glob("docs/**/*.md"))] if path.is_file()]
    text = "\n".join(path.read_text(encoding="utf-8") for path in pages)
    playbooks = sorted((root / "playbooks").glob("*.yml"))
    return [f"playbooks/{path.name}: is in neither README.md nor docs/" for path in playbooks if path.name not in text]


def collections_are_those_of_the_wheel(root: Path) -> list[str]:
    """collections/requirements.yml names the versions that the hashed ansible wheel brings."""
    problems = []
    for entry in (load(root / "collections/requirements.yml") or {}).get("collections") or []:
        manifest = root / ".collections/ansible_collections" / entry["name"].replace(".", "/") / "MANIFEST.json"
        found = json.loads(manifest.read_text(encoding="utf-8"))["collection_info"]["version"] if manifest.is_file() else "not installed"
        wanted = str(entry.get("version", "")).lstrip("=")
        if wanted != found:
            problems.append(f"{entry['name']}: is {wanted} in collections/requirements.yml, {found} in .collections (make bootstrap)")
    return problems


def secrets_are_listed_and_used(root: Path) -> list[str]:
    listed = {secret["name"] for secret in (load(root / "inventories/secrets.yml") or {}).get("secrets") or []}
    used: set[str] = set()
    for path in files(root, "inventories", "roles", "playbooks"):
        if path.name != "secrets.yml" and path.suffix in (".yml", ".yaml", ".j2"):
            used |= set(re.findall(r"\bsecret_[a-z0-9_]+\b", path.read_text(encoding="utf-8")))
    problems = [f"inventories/secrets.yml: {name} is used nowhere" for name in sorted(listed - used)]
    return problems + [f"{name}: is used and not listed in inventories/secrets.yml" for name in sorted(used - listed)]


def scenarios_are_like_production(root: Path) -> list[str]:
    """The wiring is production's by link, a network of their own, state under their own name."""
    problems = []
    networks: dict[str, str] = {}
    for scenario in sorted(path.parent for path in (root / "molecule").glob("*/inventory.yml")):
        data = load(scenario / "inventory.yml") or {}
        link = scenario / "group_vars"
        if not link.is_symlink() or link.readlink() != Path("../../inventories/local/group_vars"):
            problems.append(f"molecule/{scenario.name}: group_vars is no link to ../../inventories/local/group_vars")
        if data.get("fleet") != scenario.name:
            problems.append(f"molecule/{scenario.name}: its fleet is {data.get('fleet')!r}, expected {scenario.name!r}")
        other = networks.setdefault(str(data.get("network")), scenario.name)
        if other != scenario.name:
            problems.append(f"molecule/{scenario.name}: has the network {data.get('network')} of molecule/{other}")
    for path in sorted((root / "inventories/local/group_vars").glob("*/*.yml")):
        if path.is_symlink() and not path.exists():
            problems.append(f"{path.relative_to(root)}: leads nowhere ({path.readlink()})")
        elif not path.is_symlink() and path.stem in {role.name for role in roles(root)}:
            problems.append(f"{path.relative_to(root)}: is a copy; wiring is a link to production's, sizes are in local.yml beside it")
    return problems


def plugins_carry_the_licence(root: Path) -> list[str]:
    wanted = "# GNU General Public License v3.0+ (see LICENSE or "
    return [
        f"{path.relative_to(root)}: lacks the two licence lines"
        for path in files(root, "collections/ansible_collections/webtrends")
        if path.suffix == ".py" and wanted not in path.read_text(encoding="utf-8")[:400]
    ]


RULES: tuple[Rule, ...] = (
    defaults_are_the_spec, roles_are_whole, batch_items_are_tasks, roles_know_no_inventory, thin_roles_are_thin,
    templates_say_who_manages_them, variables_have_their_prefix, failures_count, files_are_short, nothing_names_a_machine,
    playbooks_are_documented, collections_are_those_of_the_wheel, secrets_are_listed_and_used, scenarios_are_like_production,
    plugins_carry_the_licence,
)  # fmt: skip
