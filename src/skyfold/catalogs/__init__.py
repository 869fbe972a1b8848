"""Catalogues: many objects fitted with one model, a chunk at a time, each with its own test of convergence."""
