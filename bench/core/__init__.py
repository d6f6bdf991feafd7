"""The foundation of all other packages: files, boxes, leases, progress, provenance, the bootstrap."""
