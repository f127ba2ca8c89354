"""Other libraries' folders of modules, read and written, and the one door for pickles."""
