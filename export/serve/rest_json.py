"""TensorFlow Serving's JSON: https://www.tensorflow.org/tfx/serving/api_rest.

Tensors come by rows (`"instances"`, answered by `"predictions"`) or by columns (`"inputs"`,
answered by `"outputs"`); examples, for regressions, as objects (`"examples"`, answered by
`"results"`). Bytes are `{"b64": "..."}`. NaN and infinities are written as JavaScript does.
"""

import base64
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.protocol.errors import invalid
from export.serve.servable import Tensors

# No signature has an input of so many dimensions.
_DEEPEST = 8
_LARGEST = float(np.finfo(np.float32).max)
_NUMBERS = {"float": (int, float), "int": (int,), "bool": (bool,)}


def parse(body: bytes) -> dict[str, Any]:
    """Parses a request.

    Args:
        body: The request's body.

    Raises:
        ServingError: It is not a JSON object, or "signature_name" is not a string.

    Example:

    >>> parse(b'{"signature_name": "score_examples", "examples": [{"candidate": 101}]}')
    {'signature_name': 'score_examples', 'examples': [{'candidate': 101}]}
    >>> parse(b"[1]")
    Traceback (most recent call last):
    export.protocol.errors.ServingError: INVALID_ARGUMENT: JSON Value is not an object
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from None
    if not isinstance(request, dict):
        raise invalid("JSON Value is not an object")
    if not isinstance(request.get("signature_name", ""), str):
        raise invalid("'signature_name' key must be a string value")
    return request


def tensors(request: Mapping[str, Any], signature: Any) -> tuple[Tensors, bool]:
    """Reads the inputs of a `:predict`.

    Args:
        request: What `parse` returned.
        signature: The signature that it asks, a `SignatureDef`.

    Returns:
        The inputs, and whether they came by rows.

    Raises:
        ServingError: They are not as the signature has them.

    Example:

    >>> from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef
    >>> signature = SignatureDef()
    >>> signature.inputs["candidate"].dtype = tf.int64.as_datatype_enum
    >>> tensors({"instances": [{"candidate": 101}, {"candidate": 102}]}, signature)
    ({'candidate': array([101, 102])}, True)
    """
    by_row = "instances" in request
    if by_row == ("inputs" in request):
        raise invalid("expected one of the keys 'inputs' and 'instances'")
    dtypes = {name: tf.as_dtype(info.dtype) for name, info in signature.inputs.items()}
    if by_row:
        columns = _columns(request["instances"], dtypes)
    elif _is_named(request["inputs"]):
        columns = request["inputs"]
    elif len(dtypes) == 1:
        columns = {next(iter(dtypes)): request["inputs"]}
    else:
        raise invalid("inputs is a plain value, but the signature has several inputs")
    for name in dtypes:
        if name not in columns:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _tensor(columns[name], dtype, name) for name, dtype in dtypes.items()}, by_row


def answer(outputs: Mapping[str, np.ndarray], by_row: bool) -> dict[str, Any]:
    """Returns the answer to a `:predict`.

    Args:
        outputs: The outputs by name.
        by_row: Whether the inputs came by rows.

    Example:

    >>> outputs = {"score": np.float32([0.7, 0.3]), "logit": np.float32([0.85, -0.85])}
    >>> answer(outputs, by_row=True)
    {'predictions': [{'score': 0.7, 'logit': 0.85}, {'score': 0.3, 'logit': -0.85}]}
    >>> answer(outputs, by_row=False)
    {'outputs': {'score': [0.7, 0.3], 'logit': [0.85, -0.85]}}
    """
    columns = {name: _plain(name, values) for name, values in outputs.items()}
    if len(columns) == 1:
        (column,) = columns.values()
        return {"predictions" if by_row else "outputs": column}
    if not by_row:
        return {"outputs": columns}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}


def examples(request: Mapping[str, Any]) -> list[bytes]:
    """Reads the examples of a `:regress`, as serialized `tf.Example`s.

    Features of "context" are of all examples.

    Args:
        request: What `parse` returned.

    Raises:
        ServingError: There are none, or a feature is neither numbers nor strings.

    Example:

    >>> (serialized,) = examples({"examples": [{"candidate": 101}]})
    >>> tf.train.Example.FromString(serialized).features.feature["candidate"].int64_list.value
    [101]
    """
    feature_lists = request.get("examples")
    if not isinstance(feature_lists, list) or not feature_lists:
        raise invalid("expected the key 'examples' with a list of at least one")
    context = request.get("context", {})
    if not all(isinstance(features, dict) for features in [context, *feature_lists]):
        raise invalid("Example must be a JSON object")
    serialized = []
    for features in feature_lists:
        merged = {**context, **features}
        proto = {name: _feature(name, values) for name, values in merged.items()}
        example = tf.train.Example(features=tf.train.Features(feature=proto))
        serialized.append(example.SerializeToString())
    return serialized


def results(values: np.ndarray) -> dict[str, Any]:
    """Returns the answer to a `:regress`.

    Args:
        values: The output, float32 [batch].

    Example:

    >>> results(np.float32([0.7, 0.3]))
    {'results': [0.7, 0.3]}
    """
    return {"results": _plain("", values)}


def _columns(instances: Any, dtypes: Mapping[str, tf.DType]) -> dict[str, list]:
    if not isinstance(instances, list) or not instances:
        raise invalid("'instances' must be a list of at least one")
    if not _is_named(instances[0]):
        if len(dtypes) > 1:
            raise invalid("instances is a plain list, but the signature has several inputs")
        return {next(iter(dtypes)): instances}
    for position, row in enumerate(instances):
        if not _is_named(row) or set(row) != set(dtypes):
            keys = ",".join(sorted(dtypes))
            raise invalid(f"element {position} of 'instances': keys must be equal to: {keys}")
    return {name: [row[name] for row in instances] for name in dtypes}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_bytes(value)


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"} and isinstance(value["b64"], str)


def _tensor(value: Any, dtype: tf.DType, name: str) -> np.ndarray:
    """A tensor of nested lists, which must be of one size at each level."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        if len(shape) == _DEEPEST:
            raise invalid(f"input {name}: lists nested deeper than {_DEEPEST} levels")
        size = len(level[0])
        if any(not isinstance(v, list) or len(v) != size for v in level):
            raise invalid(f"input {name}: lists of different sizes at level {len(shape) + 1}")
        shape.append(size)
        level = list(itertools.chain.from_iterable(level))
    if dtype == tf.string:
        flat = np.empty(len(level), object)
        flat[:] = [_bytes(leaf, name) for leaf in level]
        return flat.reshape(shape)
    kind = "float" if dtype.is_floating else "bool" if dtype.is_bool else "int"
    for leaf in level:
        if not isinstance(leaf, _NUMBERS[kind]) or (kind != "bool" and isinstance(leaf, bool)):
            raise invalid(f"input {name}: {_shown(leaf)} is not of type {dtype.name}")
    try:
        with np.errstate(over="raise"):
            return np.array(level, dtype.as_numpy_dtype).reshape(shape)
    except (OverflowError, FloatingPointError):
        raise invalid(f"input {name}: a number is beyond {dtype.name}") from None


def _shown(leaf: Any) -> str:
    """A value for a message; one that holds others by its kind, as it may be nested for ever."""
    return repr(str(leaf)[:80]) if not isinstance(leaf, dict | list) else f"a {type(leaf).__name__}"


def _bytes(leaf: Any, name: str) -> bytes:
    if _is_bytes(leaf):
        try:
            return base64.b64decode(leaf["b64"], validate=True)
        except ValueError:  # binascii's is one.
            raise invalid(f"input {name}: unable to base64 decode") from None
    if not isinstance(leaf, str):
        raise invalid(f"input {name}: {_shown(leaf)} is not of type string")
    return _utf8(leaf, name)


def _utf8(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise invalid(f"input {name}: {text[:80]!r} is not valid Unicode") from None


def _feature(name: str, values: Any) -> tf.train.Feature:
    _utf8(name, "feature")
    values = values if isinstance(values, list) else [values]
    try:
        if all(isinstance(value, int) for value in values):  # Booleans are integers: 0 and 1.
            return tf.train.Feature(int64_list=tf.train.Int64List(value=map(int, values)))
        if all(isinstance(value, float) for value in values):
            if any(abs(value) > _LARGEST and not math.isinf(value) for value in values):
                raise invalid(f"Feature: {name}: a number is beyond float32")
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        texts = [_bytes(value, name) for value in values]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=texts))
    except ValueError as error:
        raise invalid(f"Feature: {name}: {error}") from None


def _plain(name: str, values: np.ndarray) -> Any:
    """Nested lists; floats as short as they are still distinct."""
    if values.dtype.kind == "f":
        flat = [float(str(value)) for value in values.reshape(-1)]
        values = np.array(flat, object).reshape(values.shape)
    elif values.dtype == object:
        as_bytes = name.endswith("_bytes")
        texts = np.empty(values.size, object)
        texts[:] = [_text(value, as_bytes) for value in values.reshape(-1)]
        values = texts.reshape(values.shape)
    return values.tolist()


def _text(value: bytes, as_bytes: bool) -> str | dict[str, str]:
    if as_bytes:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode(errors="replace")
