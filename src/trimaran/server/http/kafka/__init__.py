"""The node as a Kafka client of its own cluster: how any node answers for all of them."""
