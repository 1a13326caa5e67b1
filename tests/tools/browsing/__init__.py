"""Pages in a browser without a window, for tests."""
