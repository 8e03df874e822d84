"""Programs that make the project's own science pages in `reports/`; none is a part of the package."""
