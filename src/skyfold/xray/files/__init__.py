"""OGIP files: reading, writing, and what they hold."""
