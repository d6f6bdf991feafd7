"""The MLflow mirror of finished runs, and the live curves of those in progress."""
