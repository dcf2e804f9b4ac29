"""Figures as SVG: arrays in, bytes out. `canvas` draws, every other module is one kind of panel.

The SVG is written directly: no plotting library has to be loaded, a panel takes about a millisecond, its bytes depend
on its numbers only, and its text stays text in the packaged font.
"""
