"""The command line: one small file per group of verbs; parsing and printing only."""
