"""Nested sampling: its parts, and samplers of other packages."""
