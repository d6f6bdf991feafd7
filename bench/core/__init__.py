"""What everything else stands on: files, boxes, leases, progress, provenance, the bootstrap."""
