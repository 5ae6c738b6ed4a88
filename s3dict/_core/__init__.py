"""What a Dict does, written once over any store."""
