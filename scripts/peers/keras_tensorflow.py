"""Keras on TensorFlow, as in the article.

python keras_tensorflow.py DATA.npz EPOCHS SEED
"""

import json
import os
import sys
import time

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np


class Clock(keras.callbacks.Callback):
    seconds: list = []  # noqa: RUF012

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.started)


data, epochs, seed = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x_train, x_val = (data[key][..., None] / np.float32(255) for key in ("x_train", "x_val"))
keras.utils.set_random_seed(seed)
layers = keras.layers
model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(128, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
validation = (x_val, data["y_val"])
history = model.fit(
    x_train, data["y_train"], batch_size=64, epochs=epochs, validation_data=validation, validation_batch_size=256,
    verbose=0, callbacks=[Clock()],
)  # fmt: skip
print(json.dumps({"seconds": Clock.seconds, "val_acc": history.history["val_accuracy"]}))
