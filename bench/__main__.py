"""`python -m bench`, and the `weakloc` command."""

from bench.cli.main import main as main

if __name__ == "__main__":
    main()
