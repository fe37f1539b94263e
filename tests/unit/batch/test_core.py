"""Where core does not look as known, the batch says so before anything runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ansible_collections.webtrends.optimize.plugins.plugin_utils import batch_core


@dataclasses.dataclass
class Built:
    """As core 2.19 gives a packed module."""

    b_module_data: bytes = b""
    module_style: str = "new"
    shebang: str | None = "#!/usr/bin/python3"
    serialization_profile: str = "legacy"


class Action:
    def __init__(self, built: Any) -> None:
        self.built = built
        self._templar = self

    def _configure_module(self, **_: Any) -> tuple[Any, str]:
        return self.built, "/path"

    def _is_pipelining_enabled(self, _style: str) -> bool:
        return False

    def template(self, value: Any) -> Any:
        return value


CALL = b"""if __name__ == '__main__':
    _ansiballz_main(
zip_data='eA==',
module_fqn='ansible.modules.ping',
profile='legacy',
extensions={},
)
"""


def test_a_packed_module_is_read() -> None:
    assert batch_core.pack(Action(Built(CALL)), "ping", {})["module_fqn"] == "ansible.modules.ping"


@pytest.mark.parametrize(
    ("built", "says"),
    [
        (Built(CALL, module_style="old"), "no Python module of the present kind"),
        (Built(b"print('another wrapper')"), "no Python module of the present kind"),
        (Built(CALL.replace(b"profile=", b"style=")), "lacks profile"),
        (Built(CALL.replace(b"extensions={}", b"extensions={'_coverage': {}}")), "debugger or coverage"),
    ],
)
def test_another_wrapper_is_unknown(built: Built, says: str) -> None:
    with pytest.raises(batch_core.Unknown, match=says):
        batch_core.pack(Action(built), "ping", {})


@pytest.mark.parametrize(
    ("built", "says"), [(object(), "lacks module_style, serialization_profile, shebang"), (Built(shebang=None), "no interpreter")]
)
def test_another_answer_about_the_host_is_unknown(built: Any, says: str) -> None:
    with pytest.raises(batch_core.Unknown, match=says):
        batch_core.host(Action(built), {})


def test_no_pipelining_is_told() -> None:
    with pytest.raises(batch_core.Unknown, match="no pipelining"):
        batch_core.may_pipeline(Action(Built()))
