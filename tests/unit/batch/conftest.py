"""An action to read items with: core's own templating and loaders, without a host."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins import loader as loaders
from ansible.template import Templar, trust_as_template
from ansible.utils.collection_loader import AnsibleCollectionConfig


def trusted(value: Any) -> Any:
    """Data as a playbook holds it: its strings may be templates."""
    if isinstance(value, dict):
        return {key: trusted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [trusted(inner) for inner in value]
    return trust_as_template(value) if isinstance(value, str) else value


class Display:
    """What was shown, and how much is asked for."""

    def __init__(self) -> None:
        self.verbosity = 0
        self.shown: list[str] = []

    def display(self, message: str, **_: Any) -> None:
        self.shown.append(message)


@pytest.fixture(scope="session", autouse=True)
def names_resolve() -> None:
    """Names like `ansible.builtin.file` resolve only after core has set up its finder of collections, as its commands do."""
    if AnsibleCollectionConfig.collection_finder is None:
        loaders.init_plugin_loader([str(Path(__file__).resolve().parents[3] / "collections")])


@pytest.fixture
def variables() -> dict[str, Any]:
    return trusted(
        {"inventory_hostname": "euw-kafka-1", "paths": ["/a", "/b"], "yes_please": True, "word": "text", "indirect": "{{ word }}"}
    )


@pytest.fixture
def action(variables: dict[str, Any]) -> Any:
    loader = DataLoader()
    task = SimpleNamespace(
        collections=None,
        module_defaults=[],
        check_mode=False,
        diff=True,
        no_log=False,
        delegate_to=None,
        notify=None,
        args={},
        environment=[],
    )
    return SimpleNamespace(
        _task=task, _templar=Templar(loader, variables=variables), _shared_loader_obj=loaders, _loader=loader, _display=Display()
    )
