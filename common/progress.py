"""A bar on the terminal over something that a person waits for; nothing where standard error is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


class ProgressBar:
    """Appears with the first `show`; to be closed, or used as a context manager."""

    def __init__(self, total: float, title: str = "", unit: str = "it", leave: bool = True, form: str = "") -> None:
        """leave: the bar stays on the terminal when it is closed. form: tqdm's `bar_format`; empty: tqdm's own."""
        self.total, self.title, self.unit, self.leave, self.form = total, title, unit, leave, form
        self._bar: tqdm | None = None

    def show(self, done: float, said: str = "", total: float | None = None, before: float = 0) -> None:
        """That `done` of the total are done (and not: how many more), and what else there is to say.

        total: where more is known of it than at the start. before: of the first call: done by an earlier run, which
        says nothing about this one's speed.
        """
        from tqdm import tqdm

        if self._bar is None:
            form = self.form or None
            self._bar = tqdm(total=self.total, desc=self.title or None, unit=self.unit, initial=before,
                             leave=self.leave, bar_format=form, disable=None)  # fmt: skip
        if total is not None:
            self._bar.total = total
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
