# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the list of ordinary tasks to items that are ready to run: conditions, loops and templates are settled here."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.datatag import native_type_name
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.parsing.splitter import parse_kv

from . import batch_core as core

KEYWORDS = frozenset({"name", "when", "when_changed", "changed_when", "no_log", "loop", "loop_control", "notify", "vars"})
FREE_FORM = frozenset({"ansible.builtin.command", "ansible.builtin.shell", "ansible.legacy.command", "ansible.legacy.shell"})

# Actions with a part on the controller that a batch does as they do, and the module that they run.
HERE = {
    "command": "ansible.legacy.command",
    "shell": "ansible.legacy.command",
    "copy": "ansible.legacy.copy",
    "template": "ansible.legacy.copy",
    "assemble": "ansible.legacy.assemble",
    "unarchive": "ansible.legacy.unarchive",
    "uri": "ansible.legacy.uri",
}
INSTEAD = {
    "service": "use ansible.builtin.systemd_service",
    "package": "use ansible.builtin.apt",
    "batch": "a batch holds no batch: join the lists with +",
}


@contextlib.contextmanager
def failing(where: str, hidden: bool, task: dict) -> t.Iterator[None]:
    """Errors name the item, and point at it; those of an item with no_log say nothing else."""
    try:
        yield
    except AnsibleError as error:
        if hidden:
            raise AnsibleActionFail(f"{where}: it could not be made ready; why is hidden by its no_log.", obj=task) from None
        raise AnsibleActionFail(f"{where}: {error.message}", obj=task) from error


@dataclasses.dataclass
class Item:
    """One run of one module; an item with a loop becomes several."""

    task: dict
    where: str
    number: int
    name: str
    action: str
    resolved: str
    path: str
    args: dict[str, t.Any]
    no_log: bool = False
    when_changed: list[int] | None = None
    changed_when: bool | None = None
    notify: list[str] = dataclasses.field(default_factory=list)
    skipped: dict | None = None
    variables: dict | None = None

    @property
    def module(self) -> str:
        """The module that runs on the host, by the name that core's own action gives it."""
        leaf = self.resolved.rpartition(".")[2]
        return HERE.get(leaf, self.action) if self.is_core else self.action

    @property
    def is_core(self) -> bool:
        return self.resolved.startswith(("ansible.builtin.", "ansible.legacy."))

    @property
    def kind(self) -> str:
        """Leaf name of a core action with a part on the controller; empty for all others."""
        leaf = self.resolved.rpartition(".")[2]
        return leaf if self.is_core and leaf in HERE else ""


class Reader:
    """Reads the items of one task for one host."""

    def __init__(self, action: t.Any, task_vars: dict) -> None:
        self.action = action
        self.variables = task_vars
        self.items: list[Item] = []
        self.numbers: dict[str, list[int]] = {}

    def read(self, tasks: t.Any) -> list[Item]:
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise AnsibleActionFail(f"`tasks` of a batch is a list of tasks; found {native_type_name(tasks)}.", obj=tasks)
        for position, task in enumerate(tasks, 1):
            self._task(position, task)
        return self.items

    def _task(self, position: int, task: dict) -> None:
        where = f"Item {position}" + (f" '{task['name']}'" if isinstance(task.get("name"), str) else "")
        with failing(where, task.get("no_log") not in (None, False), task):
            if "name" not in task:
                raise AnsibleActionFail("it has no name, and the report of a run needs one")
            names = [key for key in task if key not in KEYWORDS]
            if len(names) != 1:
                raise AnsibleActionFail(
                    f"it names {len(names)} modules ({', '.join(map(str, names)) or 'none'}); expected one besides the keywords "
                    f"{', '.join(sorted(KEYWORDS))}"
                )
            resolved, path = self.resolve(names[0])
            for variables in self._loop(task):
                self._one(task, where, names[0], resolved, path, variables)

    def resolve(self, name: str) -> tuple[str, str]:
        """A module's full name and file, found as core finds a task's; refused when it has a part on the controller."""
        loaders, collections = self.action._shared_loader_obj, self.action._task.collections
        found = loaders.module_loader.find_plugin_with_context(name, collection_list=collections)
        resolved = (found.resolved_fqcn or name) if found.resolved else name
        leaf = resolved.rpartition(".")[2]
        core = resolved.startswith(("ansible.builtin.", "ansible.legacy."))
        own_action = found.action_plugin if found.resolved else None
        if not (core and leaf in HERE) and (
            own_action or loaders.action_loader.has_plugin(name, collection_list=collections) or loaders.action_loader.has_plugin(resolved)
        ):
            hint = INSTEAD.get(leaf, "make it a task of its own")
            raise AnsibleActionFail(f"{name} has a part that runs on the controller, which a batch can't do: {hint}.")
        if not found.resolved or not found.plugin_resolved_path:
            raise AnsibleActionFail(f"no module {name} was found.")
        return resolved, found.plugin_resolved_path

    def _loop(self, task: dict) -> t.Iterator[dict]:
        base = dict(self.variables, **task["vars"]) if task.get("vars") else self.variables
        if "loop" not in task:
            yield base
            return
        control = task.get("loop_control") or {}
        if unknown := set(control) - {"loop_var", "label"}:
            raise AnsibleActionFail(f"loop_control has {', '.join(sorted(unknown))}; a batch knows loop_var and label.")
        values = self._template(task["loop"], base)
        if not isinstance(values, list):
            raise AnsibleActionFail(f"its loop is {native_type_name(values)}; expected a list.")
        for value in values:
            variables = dict(base)
            variables[control.get("loop_var", "item")] = value
            variables["__batch_label"] = self._template(control["label"], variables) if "label" in control else value
            yield variables

    def _one(self, task: dict, where: str, action: str, resolved: str, path: str, variables: dict) -> None:
        name = str(self._template(task["name"], variables))
        if "loop" in task and name == task["name"]:
            name = f"{name} ({variables['__batch_label']})"
        no_log = self._boolean("no_log", task.get("no_log", False), variables)
        if no_log and "loop" in task:
            name = str(task["name"])
        item = Item(task, where, len(self.items), name, action, resolved, path, {}, no_log=no_log, variables=variables)
        for label in {name, str(task["name"])}:
            self.numbers.setdefault(label, []).append(item.number)
        self.items.append(item)
        conditions = task.get("when", True)
        for condition in conditions if isinstance(conditions, list) else [conditions]:
            if not self._condition(condition, variables):
                item.skipped = {"changed": False, "skipped": True, "skip_reason": "Conditional result was False"}
                if not no_log:
                    item.skipped["false_condition"] = condition
                return
        if "when_changed" in task:
            item.when_changed = self._earlier(task["when_changed"], variables, item.number)
        if "changed_when" in task:
            item.changed_when = self._boolean("changed_when", task["changed_when"], variables)
        notify = self._template(task.get("notify", []), variables)
        item.notify = [notify] if isinstance(notify, str) else list(notify)
        item.args = self._args(task[action], item)
        self._check(item)

    def _args(self, raw: t.Any, item: Item) -> dict:
        if isinstance(raw, str) and item.resolved in FREE_FORM:
            raw = parse_kv(raw, check_raw=True)
        args = self._template({} if raw is None else raw, item.variables)
        if not isinstance(args, dict):
            raise AnsibleActionFail(f"the arguments of {item.action} are {native_type_name(args)}; expected a dictionary.")
        if item.kind in ("command", "shell") and "cmd" in args and "_raw_params" not in args:
            args = dict(args, _raw_params=args["cmd"])
            del args["cmd"]
        return core.with_defaults(self.action, item.resolved, args)

    def _check(self, item: Item) -> None:
        """What stock actions do on the controller only for some of their arguments."""
        remote = boolean(item.args.get("remote_src", item.kind == "assemble"), strict=False)
        if item.kind in ("assemble", "unarchive") and (not remote or "copy" in item.args):
            raise AnsibleActionFail(f"{item.action} in a batch works on files of the host: set remote_src, or make it a task of its own.")
        if item.kind == "uri":
            if not remote and (item.args.get("src") or item.args.get("body_format") == "form-multipart"):
                raise AnsibleActionFail(f"{item.action} in a batch sends no files of the controller: make it a task of its own.")
            if self.action._task.check_mode:
                item.skipped = {"changed": False, "skipped": True, "msg": f"This action ({item.action}) does not support check mode."}
        if item.kind == "shell" and "expand_argument_vars" in item.args:
            raise AnsibleActionFail(f"Unsupported parameters for ({item.action}) module: expand_argument_vars")

    def _earlier(self, raw: t.Any, variables: dict, number: int) -> list[int]:
        wanted = self._template(raw, variables)
        numbers: list[int] = []
        for name in [wanted] if isinstance(wanted, str) else wanted:
            found = [earlier for earlier in self.numbers.get(name, []) if earlier < number]
            if not found:
                raise AnsibleActionFail(f"when_changed names '{name}', and no earlier item has that name.")
            numbers.extend(found)
        return numbers

    def _template(self, value: t.Any, variables: dict | None) -> t.Any:
        templar = self.action._templar
        if variables is None or variables is self.variables:
            return templar.template(value)
        return templar.copy_with_new_env(available_variables=variables).template(value)

    def _condition(self, condition: t.Any, variables: dict) -> bool:
        if isinstance(condition, str) and "{{" in condition:
            condition = self._template(condition, variables)
        if isinstance(condition, bool) or condition is None:
            return condition is not False
        return bool(self.action._templar.copy_with_new_env(available_variables=variables).evaluate_conditional(condition))

    def _boolean(self, keyword: str, raw: t.Any, variables: dict) -> bool:
        if isinstance(raw, bool):
            return raw
        return self._condition(raw, variables)
