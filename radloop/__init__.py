"""Radloop: scans in, kept losslessly, seen, verified, learned from, served."""

__version__ = "0.1.0"
