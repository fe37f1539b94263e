"""Kafka by librdkafka: publishing, and from the spool when Kafka is away."""
