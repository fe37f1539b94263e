"""The project follows its own conventions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conventions.rules import RULES, Rule

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_follows(rule: Rule) -> None:
    problems = rule(PROJECT)
    assert not problems, "\n  ".join([f"{len(problems)} violations:", *problems])
