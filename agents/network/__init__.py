"""The network that scores slots: in compiled code and in torch, and whole episodes under it."""
