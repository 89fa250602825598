"""Revenue: invoice lines and ledger transactions in, journal entries out."""
