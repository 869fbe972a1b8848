"""The search for maxima and modes."""
