"""Coordinates in which methods work."""
