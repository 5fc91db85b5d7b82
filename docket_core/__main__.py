"""`python -m docket_core` is the command `docket`."""

from docket_core.cli import main

if __name__ == "__main__":
    main()
