"""A run's page."""

from __future__ import annotations

import html
import os
from pathlib import Path


class Page:
    """One HTML page with everything in it. A notebook shows it where it is the last value of a cell."""

    def __init__(self, text: str, height: int = 700) -> None:
        self.html = text
        self.height = height

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page to a file."""
        Path(path).write_text(self.html, encoding="utf-8")
        return Path(path)

    def _repr_html_(self) -> str:
        # In a frame of its own: its styles do not touch the notebook's. Without scripts' access to the notebook.
        return (
            f'<iframe srcdoc="{html.escape(self.html)}" sandbox="allow-scripts" '
            f'style="width: 100%; height: {self.height}px; border: 0"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<gatelens.Page of {len(self.html):,} characters; .save(FILE) writes it>"
