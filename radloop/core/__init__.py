"""The words of the house: image sets, reads, events, errors, ports. Standard library only, no I/O."""
