"""Files to typed records and back; no torch, no params."""
