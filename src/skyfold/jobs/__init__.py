"""Fits described in TOML or on the command line, without a terminal."""
