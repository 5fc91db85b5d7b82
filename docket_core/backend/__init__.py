"""The seam: everything a backend author needs to read."""
