"""Cells among each other: messages and topics, transports, neighbours; docs/protocol.md has it in words."""
