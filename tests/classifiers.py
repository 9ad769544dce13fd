"""CAV-MAE's fine-tuning model from sizes alone."""

from __future__ import annotations

from typing import Any

from avbench.config import InputConfig, ModelConfig
from avbench.methods.classifier import Classifier
from avbench.methods.encoder import Encoder
from avbench.methods.vit import uninitialised


def classifier_of(model: ModelConfig, input: InputConfig, n_classes: int, **options: Any) -> Classifier:
    """Returns one with first values, its position tables trained."""
    with uninitialised():
        encoder = Encoder(model, input, trainable_positions=True)
    return Classifier(encoder, n_classes, **options)
