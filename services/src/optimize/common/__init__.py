"""What every service has: configuration, logs, metrics, health, drain, the server."""
