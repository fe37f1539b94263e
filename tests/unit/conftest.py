"""Plugins are imported as core imports them: its finder of collections is there before the first of them is."""

from __future__ import annotations

from pathlib import Path

from ansible.plugins import loader
from ansible.utils.collection_loader import AnsibleCollectionConfig

if AnsibleCollectionConfig.collection_finder is None:
    loader.init_plugin_loader([str(Path(__file__).resolve().parents[2] / "collections")])
