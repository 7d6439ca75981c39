"""A found architecture in the user's hands: read from where it was found, written as source, program or drawing."""

from common.export.found import Found, read_found, sized_space
from common.export.write import FORMS, export

__all__ = ["FORMS", "Found", "export", "read_found", "sized_space"]
