"""Runs that are killed at random moments (kill -9), and what must be left of them."""
