"""Sweeps: what their cells are, and the engines that play them, on this machine's processes or on a cluster's."""
