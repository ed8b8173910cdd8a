"""Reads which encodings of an answer a client takes."""

import re

GZIP = re.compile(r"(?:^|[\s,])gzip\s*(?:$|,|;\s*q=(?:1|0?\.0*[1-9]))", re.IGNORECASE)


def accepts_gzip(accept_encoding: str) -> bool:
    """Says by the header's words whether a client takes gzip; `gzip;q=0` is a refusal."""
    return GZIP.search(accept_encoding) is not None
