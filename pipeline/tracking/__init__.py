"""What is logged to MLflow: live curves of a training, evaluated models, searches."""
