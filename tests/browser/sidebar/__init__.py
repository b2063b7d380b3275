"""The sidebar, its tabs and its dialogs."""
