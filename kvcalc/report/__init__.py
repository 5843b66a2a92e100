"""Writers: reports become rows, and rows become JSON, CSV, Markdown or a table. Writers compute nothing."""
