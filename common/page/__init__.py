"""A run as one page of HTML that needs no network: `write_page`."""

from common.page.page import write_page

__all__ = ["write_page"]
