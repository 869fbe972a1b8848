"""Importance sampling: proposals, weights, and their judgement."""
