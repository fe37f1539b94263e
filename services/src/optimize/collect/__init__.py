"""Collect: takes events into its spool, from there into ClickHouse, and publishes them."""
