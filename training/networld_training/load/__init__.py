"""A mesh under load: many cells with synthetic radios at real brokers, and what they bear."""
