"""What results say together: paired comparison, audit, regression gate, trends."""
