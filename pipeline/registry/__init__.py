"""The MLflow model registry and the ledger: versions, promotion, parity, rollback and restore."""
