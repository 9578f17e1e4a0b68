"""Variables of MATLAB files (version 5), with a bound on what their compressed parts unpack to.

Layout: "MAT-File Format", MathWorks: a header of 128 bytes, then elements of an 8-byte tag (type,
bytes) and data; type 15 is a zlib stream that holds one more element.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from scipy.io import loadmat

from lemore.data.archives.archives import Member

HEADER_BYTES = 128
COMPRESSED = 15
MAX_BYTES = 1 << 26  # of one variable; a label map of 640 x 640 doubles has 3 MB


def variable(file: Member, name: str, **options: Any) -> Any:
    """The variable `name` as scipy.io.loadmat gives it with these options.

    ValueError for anything that is no such file, lacks the variable, or unpacks to too much.
    """
    content = file.read()
    try:
        for stream in _compressed(content):
            unpacker = zlib.decompressobj()
            unpacker.decompress(stream, MAX_BYTES)
            if unpacker.unconsumed_tail:
                raise ValueError(f"a variable unpacks to more than {MAX_BYTES} bytes")
        return loadmat(io.BytesIO(content), variable_names=[name], **options)[name]
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise ValueError(f"cannot be read as a .mat file with {name} ({error})") from None


def _compressed(content: bytes) -> Iterator[memoryview]:
    """The zlib streams at the top of the file."""
    order = ">" if content[126:128] == b"MI" else "<"
    position = HEADER_BYTES
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, position)
        if kind == COMPRESSED:
            yield memoryview(content)[position + 8 : position + 8 + size]
        position += 8 + size
