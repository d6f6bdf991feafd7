"""Pictures of predictions: image cards and contact sheets."""
