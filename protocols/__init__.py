"""The protocols: one TOML file each, found by the registry; `ls` is the list of columns."""
