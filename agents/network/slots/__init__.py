"""The network over slots: its mathematics, its forms in compiled code and in torch, episodes under it."""
