"""Verify the pack that this is run from, or the one that is named."""

import sys

from . import verify


def main() -> None:
    """Exit 1 if anything does not add up."""
    named = sys.argv[1] if len(sys.argv) > 1 else sys.argv[0]
    sys.exit(1 if verify(named) else 0)


if __name__ == "__main__":
    main()
