"""Runs the project's own workflows of GitHub Actions without GitHub, and refuses whatever it does not model."""
