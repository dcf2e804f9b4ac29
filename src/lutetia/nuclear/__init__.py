"""Nuclides, emissions and decay: the one home of every nuclear constant."""
