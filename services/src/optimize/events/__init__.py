"""Visitors' events: what one is, how requests carry them, how a service takes them."""
