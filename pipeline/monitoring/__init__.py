"""Compares new messages with the training data: drift, planted labels, disputed labels."""
