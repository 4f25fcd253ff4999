"""Model versions: what was registered, decided and put to work, told from a ledger that only grows."""
