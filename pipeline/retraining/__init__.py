"""Scheduled retraining: when to retrain, and how a new model is proposed."""
