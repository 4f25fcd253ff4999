"""What is in a file: parse, validate, geometry, de-identify, render; and the phantoms that are made up."""
