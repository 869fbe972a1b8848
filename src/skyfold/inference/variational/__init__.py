"""Variational inference: guides, objective, geometry."""
