"""PAT: decides which variation a visitor sees, and takes interactions and conversions into Kafka."""
