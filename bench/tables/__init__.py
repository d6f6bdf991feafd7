"""One table model, and a renderer a format."""
