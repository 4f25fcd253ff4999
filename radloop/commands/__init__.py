"""The commands, one a module: `radloop a-b` is `a_b` in `a_b.py`, loaded only when it is asked for."""
