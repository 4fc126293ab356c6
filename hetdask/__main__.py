"""`python -m hetdask` is `hetdask`."""

from hetdask.cli.main import main

if __name__ == "__main__":
    main()
