"""Command line of `optimize-collect`."""

from __future__ import annotations

from optimize.collect.replay import run as replay
from optimize.collect.service import NAME, Collect, CollectConfig
from optimize.common import logs, server
from optimize.common.config import ConfigError, load
from optimize.common.version import release


def main() -> int:
    """Serve, check the configuration, or replay; the process's exit code."""
    parser = server.parser(NAME)
    parser.add_argument("command", nargs="?", choices=["serve", "replay"], default="serve")
    parser.add_argument("--since", metavar="TIME", help="replay: what was accepted since; RFC 3339, or ago such as 90m, 2h, 1d")
    parser.add_argument("--until", metavar="TIME", default="", help="replay: until before; default now")
    arguments = parser.parse_args()
    if (arguments.command == "replay") != bool(arguments.since):
        parser.error("replay and --since belong together")
    try:
        config, fingerprint = load(arguments.config, CollectConfig)
    except ConfigError as error:
        return server.refuse(error)
    if arguments.check:
        print(fingerprint)
        return 0
    logs.configure(NAME, release(), config.log_level)
    if arguments.command == "replay":
        return replay(config, arguments.since, arguments.until)
    return server.run(lambda: Collect(config, fingerprint))
