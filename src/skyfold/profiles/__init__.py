"""Profile likelihoods: held fits, intervals, scans."""
