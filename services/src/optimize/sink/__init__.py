"""Sink: events from Kafka into ClickHouse; an offset is committed after its row is in."""
