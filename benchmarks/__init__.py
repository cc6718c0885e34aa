"""Programs that print the README's figures."""
