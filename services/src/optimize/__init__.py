"""The services of the platform: one package, one entry point for each service."""

__version__ = "0.1.0"
