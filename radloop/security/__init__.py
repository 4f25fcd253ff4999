"""Identity, access, sealing, audit."""
