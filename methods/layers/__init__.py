"""What the papers invented, each a small tested piece."""
