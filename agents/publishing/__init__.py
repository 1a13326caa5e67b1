"""Weights as files, cards beside them, and learned policies behind the interface of all policies."""
