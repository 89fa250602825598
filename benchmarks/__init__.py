"""What the README's figures come from; each prints its ceiling or peer of the same run."""
