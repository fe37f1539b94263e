# Copyright: contributors to the Webtrends Optimize platform
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases and the sets that ran: choosing, keeping, going back, tidying up."""

import os

import pytest
from ansible_collections.webtrends.optimize.plugins.module_utils import releases


class Host:
    """Directories of a host below a temporary one."""

    def __init__(self, path):
        self.opt, self.etc, self.sets = path / "opt", path / "etc", path / "stores" / "a"
        self.root, self.stores, self.store = str(self.opt), str(path / "stores"), str(self.sets)
        self.etc.mkdir()
        for version in ("1", "2", "3"):
            (path / "opt" / version).mkdir(parents=True)
        self.patterns = [str(self.etc / "*")]

    def run_with(self, version, config):
        releases.switch(self.root, "current-a", version)
        (self.etc / "a.json").write_text(config, encoding="utf-8")

    @property
    def now(self):
        return releases.present(self.root, "a", self.patterns)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def test_a_switch_says_whether_it_changed(host):
    assert releases.linked(host.root, "a") == ""
    assert releases.switch(host.root, "current-a", "1") is True
    assert releases.switch(host.root, "current-a", "1") is False
    assert releases.switch(host.root, "current-a", "2") is True
    assert releases.linked(host.root, "a") == "2"


def test_the_way_back_brings_release_and_files(host):
    host.run_with("1", "old")
    (host.etc / "a.json").chmod(0o640)
    releases.keep(host.store, host.now, 3)
    host.run_with("2", "new")
    (host.etc / "a.json").chmod(0o600)

    releases.restore(host.root, "a", releases.previous(host.store, host.now))

    assert releases.linked(host.root, "a") == "1"
    assert (host.etc / "a.json").read_text(encoding="utf-8") == "old"
    assert (host.etc / "a.json").stat().st_mode & 0o777 == 0o640


def test_what_is_on_disk_is_no_way_back(host):
    host.run_with("1", "one")
    releases.keep(host.store, host.now, 3)
    with pytest.raises(releases.ReleaseError, match="nothing to go back to"):
        releases.previous(host.store, host.now)


def test_the_newest_other_set_is_taken_and_few_are_kept(host):
    for config in ("one", "two", "three", "four"):
        host.run_with("1", config)
        releases.keep(host.store, host.now, 3)
    assert len(releases.newest_first(host.store)) == 3
    assert releases.previous(host.store, host.now).files[0].content == b"three"
    # Seen running again, a set is the newest again.
    host.run_with("1", "two")
    releases.keep(host.store, host.now, 3)
    host.run_with("1", "five")
    assert releases.previous(host.store, host.now).files[0].content == b"two"


def test_kept_secrets_are_roots_alone(host):
    host.run_with("1", "secret")
    releases.keep(host.store, host.now, 3)
    kept = host.sets / host.now.digest
    assert host.sets.stat().st_mode & 0o777 == 0o700
    assert kept.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.iterdir() if path.name != releases.MANIFEST)


def test_a_release_that_is_gone_is_said_before_anything_changes(host):
    host.run_with("1", "old")
    releases.keep(host.store, host.now, 3)
    host.run_with("2", "new")
    (host.opt / "1").rmdir()
    with pytest.raises(releases.ReleaseError, match="release 1 of a is no longer"):
        releases.restore(host.root, "a", releases.previous(host.store, host.now))
    assert (host.etc / "a.json").read_text(encoding="utf-8") == "new"


def test_only_releases_without_any_use_are_removed(host):
    host.run_with("1", "old")
    releases.keep(host.store, host.now, 3)
    host.run_with("3", "new")
    releases.switch(host.root, "current-b", "3")
    os.utime(host.opt / "3")
    assert releases.unneeded(host.root, host.stores, 1) == [str(host.opt / "2")]
