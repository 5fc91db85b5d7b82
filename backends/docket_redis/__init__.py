"""The Redis backend: streams for ready work, one script a batch, standalone servers, Sentinel and Cluster."""
