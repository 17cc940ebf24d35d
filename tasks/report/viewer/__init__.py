"""The scripts, the style and the dialog of the viewer, which `html_page.py` puts into the page."""
