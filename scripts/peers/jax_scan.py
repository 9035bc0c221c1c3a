"""JAX: an epoch as one jitted scan over batches, with optax's Adam.

python jax_scan.py DATA.npz EPOCHS SEED
"""

import json
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax


def forward(weights, images):
    dimensions = ("NHWC", "HWIO", "NHWC")
    x = jax.lax.conv_general_dilated(images, weights["conv"], (1, 1), "VALID", dimension_numbers=dimensions)
    x = jax.nn.relu(x + weights["conv_bias"])
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID").reshape(len(x), -1)
    x = jax.nn.relu(x @ weights["dense"] + weights["dense_bias"])
    return x @ weights["head"] + weights["head_bias"]


def loss(weights, images, labels):
    return optax.softmax_cross_entropy_with_integer_labels(forward(weights, images), labels).mean()


data, epochs, seed = np.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x_train, x_val = (jnp.asarray(data[key][..., None] / np.float32(255)) for key in ("x_train", "x_val"))
y_train, y_val = (jnp.asarray(data[key]) for key in ("y_train", "y_val"))
glorot = jax.nn.initializers.glorot_uniform()
shapes = {"conv": (3, 3, 1, 32), "dense": (5408, 128), "head": (128, 10)}
keys = jax.random.split(jax.random.key(seed), 4)
weights = {name: glorot(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=False)}
weights |= {f"{name}_bias": jnp.zeros(shape[-1]) for name, shape in shapes.items()}
adam = optax.adam(1e-3, eps=1e-7)
state = adam.init(weights)


@jax.jit
def epoch(weights, state, key):
    def step(carry, rows):
        weights, state = carry
        gradients = jax.grad(loss)(weights, x_train[rows], y_train[rows])
        updates, state = adam.update(gradients, state, weights)
        return (optax.apply_updates(weights, updates), state), None

    steps = len(y_train) // 64
    order = jax.random.permutation(key, len(y_train))[: steps * 64].reshape(steps, 64)
    return jax.lax.scan(step, (weights, state), order)[0]


@jax.jit
def accuracy(weights):
    return jnp.mean(forward(weights, x_val).argmax(1) == y_val)


seconds, accuracies = [], []
for key in jax.random.split(keys[3], epochs):
    start = time.perf_counter()
    weights, state = epoch(weights, state, key)
    accuracies.append(float(accuracy(weights)))
    seconds.append(time.perf_counter() - start)
print(json.dumps({"seconds": seconds, "val_acc": accuracies}))
