"""Planning in torch, beside which a bundle's graphs are timed: our own networks, and others' shapes."""
