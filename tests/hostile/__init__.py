"""A worker that lies: whatever it sends, the client raises its own errors and lives on."""
