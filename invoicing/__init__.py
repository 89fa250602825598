"""Money: overage and subscriptions in, invoice lines out."""
