"""The reference: a second implementation of the simulated machine, small and plain, to hold the compiled one against.

It follows DESIGN and docs/scheduling.md and shares nothing with the package but the numbers of compiled programs.
"""
