"""`python -m trimaran`: the command line without the installed script."""

from trimaran.cli.main import main

if __name__ == "__main__":
    main()
