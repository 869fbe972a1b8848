"""NumPyro: its programs as posteriors, and posteriors as its programs."""
