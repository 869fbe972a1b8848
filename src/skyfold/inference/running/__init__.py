"""What every run has: settings, draws, checkpoint, progress."""
