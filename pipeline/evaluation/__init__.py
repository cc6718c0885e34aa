"""Measures a model: metrics with intervals, slices, attacks, and the comparison of two models."""
