"""The SQLite backend: one file, many processes, no server."""
