"""ONNX files, which ONNX Runtime runs: they are read as files of others, and opened.

They may hold ONNX's own operators alone, and may name no other file.
"""

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from lemore.profiling.session import Session

MAX_BYTES = (1 << 31) - 1  # of a protobuf
DOMAINS = ("", "ai.onnx")  # of ONNX's own operators
TYPES = {"tensor(float)": "float32", "tensor(uint8)": "uint8"}


def describe() -> str:
    """Describes the runtime in the words of a protocol."""
    return (
        f"ONNX Runtime {version('onnxruntime')} with all graph optimisations and no hints on "
        "precision, the file's being used, whose waiting threads do not spin"
    )


def read(path: Path) -> tuple[tuple[bytes, ...], dict[str, str]]:
    """Reads a file's content and its metadata; ValueError says what is wrong with it."""
    import onnx

    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: larger than {MAX_BYTES:,} bytes")
    content = path.read_bytes()
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own kinds
        raise ValueError(f"{path}: not a whole ONNX file ({error})") from None
    _refuse_foreign(proto, path)
    return (content,), {one.key: one.value for one in proto.metadata_props}


def open_session(contents: tuple[bytes, ...], threads: int) -> Session:
    """Opens a session on the CPU; ONNX Runtime raises errors of several kinds."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Threads that spin after a run would take cores from what runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(contents[0], options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    ports = [*inputs, *session.get_outputs()]
    return Session(
        partial(_run, session, [port.name for port in inputs]),
        [(TYPES.get(str(port.type), str(port.type)), list(port.shape)) for port in ports],
    )


def _run(session: Any, inputs: list[str], image: np.ndarray) -> list[np.ndarray]:
    return session.run(None, dict.fromkeys(inputs, image))


def _refuse_foreign(proto: Any, path: Path) -> None:
    """Raises ValueError for data in another file, and for operators that are not ONNX's own."""
    for message in _list_messages(proto):
        kind = message.DESCRIPTOR.name
        if kind == "TensorProto" and (message.data_location or message.external_data):
            raise ValueError(f"{path}: the data of '{message.name}' lie in another file")
        if kind == "NodeProto" and message.domain not in DOMAINS:
            raise ValueError(
                f"{path}: operator {message.domain}::{message.op_type} is not one of ONNX's own"
            )
        if kind == "FunctionProto":
            raise ValueError(f"{path}: defines the operator '{message.name}' itself")


def _list_messages(message: Any) -> Iterator[Any]:
    """Lists a protobuf and all that are in it."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for one in [value] if hasattr(value, "ListFields") else value:
                yield from _list_messages(one)
