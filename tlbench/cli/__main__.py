"""`python -m tlbench.cli`."""

from tlbench.cli import main

if __name__ == "__main__":
    main()
