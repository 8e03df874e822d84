"""Timings of feature statistics, ours and others', with the error beside each."""
