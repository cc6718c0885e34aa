"""The HTTP server of the champion: requests, answers, limits, logs and feedback."""
