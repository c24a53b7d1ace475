"""What is shown of the rows: figures, tables, the page. Nothing that others read."""
