"""Credits: usage windows in, rated usage, ledger transactions and overage out."""
