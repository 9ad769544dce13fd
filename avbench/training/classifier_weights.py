"""Fine-tuned CAV-MAE out of a file: the authors', or what our fine-tuning leaves."""

from __future__ import annotations

from pathlib import Path

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.classifier import Classifier, Streams
from avbench.methods.encoder import Encoder
from avbench.methods.vit import uninitialised
from avbench.training.checkpoints import load_weights
from avbench.training.weights_file import read_state


def read_classifier(
    path: Path,
    model: ModelConfig,
    input: InputConfig,
    *,
    n_classes: int | None = None,
    mode: str = "multimodal",
    streams: Streams = "MM",
) -> Classifier:
    """Returns a fine-tuned CAV-MAE from a file, the authors' or ours, loaded strictly.

    Args:
        path: The file.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        n_classes: Classes wanted; None: those of the file.
        mode: The mode that it will be judged in.
        streams: See :class:`~avbench.methods.classifier.Classifier`.

    Raises:
        InputError: No checkpoint, not a fine-tuned CAV-MAE, other classes, streams or sizes.
    """
    state = read_state(path)
    key = "mlp_head.1.weight"
    if key not in state:
        raise InputError(f"checkpoint {path}: found no {key}, valid: the weights of a fine-tuned CAV-MAE.")
    found = state[key].shape[0]
    if n_classes not in (None, found):
        raise InputError(f"checkpoint {path}: found {found} classes, valid: {n_classes}, those of the data.")
    with uninitialised():
        encoder = Encoder(model, input, trainable_positions=True)
    classifier = Classifier(encoder, found, mode=mode, streams=streams)
    wanted, width = classifier.state_dict()[key].shape[1], state[key].shape[1]
    if width != wanted and {width, wanted} == {model.embed_dim, 2 * model.embed_dim}:
        raise InputError(
            f"checkpoint {path}: found a head that reads {width} values, valid: {wanted}, those of task.streams="
            f"{streams} in mode {mode}; SM alone reads two streams end to end."
        )
    try:
        load_weights(classifier, state)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    return classifier
