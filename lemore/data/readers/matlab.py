"""Variables of MATLAB files (version 5), with a bound on what their compressed parts unpack to.

Layout: "MAT-File Format", MathWorks: a header of 128 bytes, then elements of an 8-byte tag (type,
bytes) and data; type 15 is a zlib stream that holds one more element.
"""

import io
import struct
import zlib
from typing import Any

from scipy.io import loadmat

from lemore.data.archives.members import Member

HEADER_BYTES = 128
COMPRESSED = 15
MAX_BYTES = 1 << 26  # of one variable; a label map of 640 x 640 doubles has 3 MB


def read_variable(file: Member, name: str, **options: Any) -> Any:
    """Reads the variable `name` as scipy.io.loadmat gives it with these options.

    ValueError for anything that is no such file, lacks the variable, or unpacks to too much.
    """
    content = file.read()
    try:
        _check_sizes(content)
        return loadmat(io.BytesIO(content), variable_names=[name], **options)[name]
    except Exception as error:  # scipy raises many kinds for a damaged file
        raise ValueError(f"cannot be read as a .mat file with {name} ({error})") from None


def _check_sizes(content: bytes) -> None:
    order = ">" if content[126:128] == b"MI" else "<"
    position = HEADER_BYTES
    while position + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, position)
        position += 8 + size
        if kind == COMPRESSED:
            unpacker = zlib.decompressobj()
            unpacker.decompress(memoryview(content)[position - size : position], MAX_BYTES)
            if unpacker.unconsumed_tail:
                raise ValueError(f"a variable unpacks to more than {MAX_BYTES} bytes")
