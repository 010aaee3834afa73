"""What every layer must pass: shapes, gradients, its config, saved and loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

# By the name of a test: how the layer is made, how it is called, and the shape of its output.
Layers = dict[str, tuple[Callable[[], Any], Callable[[Any], Any], list[int]]]


@keras.saving.register_keras_serializable("tests")
class Holder(keras.Model):
    """A model that is one layer, so that the layer can be saved and loaded."""

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.layer = layer
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {"layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Holder":
        return cls(keras.saving.deserialize_keras_object(config["layer"]))


def check_layer(
    make: Callable[[], Any], call: Callable[[Any], Any], shape: list[int], directory: Path
) -> None:
    """Checks a layer.

    Args:
        make: Makes it.
        call: Calls it on a small input.
        shape: Of what it returns then.
        directory: Where it is saved.
    """
    layer = make()
    output = call(layer)
    assert list(output.shape) == shape
    assert np.isfinite(output).all()

    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]

    Holder(layer).save(directory / "layer.keras")
    loaded = keras.models.load_model(directory / "layer.keras").layer
    np.testing.assert_array_equal(call(loaded), output)

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(call(layer)))
    gradients = tape.gradient(loss, [w.value for w in layer.trainable_weights])
    assert all(g is not None for g in gradients)
    assert all(np.isfinite(tf.convert_to_tensor(g)).all() for g in gradients)
