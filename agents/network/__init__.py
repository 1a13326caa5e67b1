"""The network that scores slots: in compiled code, and in torch."""
