"""What compare.py runs: one module per suite, and what they share."""
