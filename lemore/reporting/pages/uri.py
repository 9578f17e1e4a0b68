"""Files inside a page."""

import base64


def data_uri(kind: str, data: bytes) -> str:
    """`data` as an address that holds it. kind: its media type."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
