"""A spam filter that retrains itself: ingest, validate, vectorize, train, evaluate, register."""
