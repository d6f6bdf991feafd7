"""Analyses of several results together: paired comparison, audit, regression gate, trends."""
