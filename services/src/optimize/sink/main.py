"""Command line of `optimize-sink`."""

from __future__ import annotations

from optimize.common import logs, server
from optimize.common.config import ConfigError, load
from optimize.common.version import release
from optimize.sink.config import SinkConfig
from optimize.sink.service import NAME, Sink


def main() -> int:
    """Serve, or check the configuration; the process's exit code."""
    arguments = server.parser(NAME).parse_args()
    try:
        config, fingerprint = load(arguments.config, SinkConfig)
    except ConfigError as error:
        return server.refuse(error)
    if arguments.check:
        print(fingerprint)
        return 0
    logs.configure(NAME, release(), config.log_level)
    return server.run(lambda: Sink(config, fingerprint))
