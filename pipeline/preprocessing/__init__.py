"""Prepares messages: normalised text, near-copies, splits, tokens, and profiles of each split."""
