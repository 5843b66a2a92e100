"""The door: files and names become a ModelSpec. Nothing behind the door knows a file or a foreign field name."""
