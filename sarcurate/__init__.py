"""Versioned, curated SAR training sets: from real chips to a scored dataset revision."""

__version__ = "0.1.0"
