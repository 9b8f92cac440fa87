# SPDX-License-Identifier: Apache-2.0
"""The texts that users may write, with their greatest lengths in characters.

None may have a NUL: PostgreSQL's text cannot hold it.
"""

from typing import Annotated

from msgspec import Meta

NO_NUL = "^[^\\x00]*$"
MAX_NAME = 255
MAX_VALUE = 1_000
MAX_DESCRIPTION = 10_000

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME, pattern=NO_NUL)]
"""A name or an id."""
Word = Annotated[str, Meta(max_length=MAX_NAME, pattern=NO_NUL)]
"""A short text that may be empty."""
Value = Annotated[str, Meta(max_length=MAX_VALUE, pattern=NO_NUL)]
"""What something is compared with."""
Description = Annotated[str, Meta(max_length=MAX_DESCRIPTION, pattern=NO_NUL)]
"""A text for people."""
