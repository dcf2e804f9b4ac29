"""Lutetia: dosimetry-guided radioligand therapy, from scans to organ doses to the activity of the next cycle."""

__version__ = "0.1.0"
