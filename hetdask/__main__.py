"""`python -m hetdask` is `hetdask`."""

from hetdask.cli.main import main

main()
