"""The command lines of this package."""
