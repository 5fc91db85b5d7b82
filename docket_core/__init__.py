"""docket-core."""
