"""What operators see of a cell: metrics, health, status, logs and the diagnostics archive."""
