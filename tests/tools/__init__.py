"""Tools that the tests share, and that `make differential` and `make mutation` run."""
