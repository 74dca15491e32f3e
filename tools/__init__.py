"""Build and development tools; not part of the installed packages."""
