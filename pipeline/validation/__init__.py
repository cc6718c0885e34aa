"""Checks messages against the expectations, and reports what breaks them."""
