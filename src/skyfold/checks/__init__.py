"""Checks of a fit: goodness, calibration."""
