"""A durable queue in files: appended with one fsync for all who wait, read by cursors, replayable."""
