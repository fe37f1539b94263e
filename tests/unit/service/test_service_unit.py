# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a unit needs to be up, from what systemd says of it."""

import pytest
from ansible_collections.webtrends.optimize.plugins.modules.service_unit import needed

UP = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no", "DropInPaths": "/etc/a.conf"}


@pytest.mark.parametrize(
    ("shown", "actions"),
    [
        ({}, []),
        ({"NeedDaemonReload": "yes"}, ["daemon-reload"]),
        ({"DropInPaths": ""}, ["daemon-reload"]),
        ({"UnitFileState": "disabled"}, ["enable"]),
        ({"UnitFileState": "static"}, []),
        ({"ActiveState": "inactive"}, ["start"]),
        ({"ActiveState": "failed", "UnitFileState": "disabled", "NeedDaemonReload": "yes"}, ["daemon-reload", "enable", "start"]),
        ({"ActiveState": "activating"}, []),
        ({"ActiveState": "reloading"}, []),
    ],
)
def test_only_what_is_lacking_is_done(shown, actions):
    assert needed(UP | shown, ["/etc/a.conf"]) == actions
