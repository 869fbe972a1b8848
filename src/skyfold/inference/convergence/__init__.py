"""Whether draws are to be believed."""
