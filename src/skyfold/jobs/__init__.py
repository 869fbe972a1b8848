"""Fits that are described by text: in a TOML file, or on the command line; without a terminal."""
