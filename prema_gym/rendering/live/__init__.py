"""What ``render()`` shows of the present moment: in the terminal, as text, as a frame."""
