"""Inserting into ClickHouse over HTTP: the same bytes until they are in."""
