"""Playing policies on the same episodes, what is measured of them, and how sure one can be."""
