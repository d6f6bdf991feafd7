"""Pictures of predictions and of data: image cards and contact sheets."""
