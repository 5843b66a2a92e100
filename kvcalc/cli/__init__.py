"""The terminal: parses arguments, calls one function, hands the report to one writer. It computes nothing."""
