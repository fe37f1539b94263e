"""`make bench`: measure and write bench/results/*.json. Nothing here passes or fails by a time."""

from __future__ import annotations

import importlib

import click

#: Benchmark -> the module whose `run` measures it.
BENCHMARKS = {"converge": "bench.converge", "ingest": "bench.ingest", "batch": "bench.batch"}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
def main(names: tuple[str, ...]) -> None:
    """Run the benchmarks named, or all. converge and ingest need a running platform; batch makes hosts of its own."""
    for name in names or BENCHMARKS:
        print(f"\n{name}", flush=True)
        importlib.import_module(BENCHMARKS[name]).run()


if __name__ == "__main__":
    main()
