"""Markov chains: their moves and their orchestration."""
