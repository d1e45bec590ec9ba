"""``python -m crito``: the command line."""

from crito.cli import main

main()
