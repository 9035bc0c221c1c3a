"""What is shown: figures, the page, tables, words on the terminal."""
