"""The static site: what `report` writes."""
