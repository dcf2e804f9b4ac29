"""Document model with an HTML and a PDF renderer; figures."""
