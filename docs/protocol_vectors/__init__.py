"""What docs/update_protocol.py writes: payloads with what they mean, or why a receiver rejects them."""
