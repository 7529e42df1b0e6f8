"""Where an encoder's first weights come from: nowhere, timm's ImageNet weights, or a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from core.errors import VortexError
from models.tensors import CheckpointError, read_tensors

PROBE_SECONDS: Final = 5.0
OFFLINE_HINT: Final = (
    "pass --encoder-weights none to train from scratch (the recipe's scratch rates are used), "
    "or --encoder-weights FILE with a safetensors or .pt file of encoder weights"
)


def load_encoder_weights(encoder: nn.Module, name: str, source: str | Path) -> None:
    """Fill `encoder` (timm's `name`, features only) from `source`: `"none"`, `"imagenet"` or a file.

    Raises VortexError when the model hub cannot be reached, or the file does not hold every weight of this encoder.
    """
    if source == "none":
        return
    path = _imagenet_file(name) if source == "imagenet" else Path(source)
    try:
        tensors = read_tensors(path)[0]
    except CheckpointError as error:
        raise CheckpointError(error.message, "give a safetensors or .pt file of encoder weights, imagenet, or none") from error
    _fill(encoder, name, tensors, path)


def _fill(encoder: nn.Module, name: str, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Match tensors to the encoder by name: a student's (`encoder.*`), the bare encoder's, or timm's whole classifier."""
    weights = encoder.state_dict()
    if any(key.startswith("encoder.") for key in tensors):
        tensors = {key.removeprefix("encoder."): value for key, value in tensors.items() if key.startswith("encoder.")}
    # timm flattens one level when it cuts features out of a classifier: stages.0.… becomes stages_0.…
    matches = {key: tensors.get(key, tensors.get(key.replace("_", ".", 1))) for key in weights}
    missing = [key for key, value in matches.items() if value is None and not key.endswith("num_batches_tracked")]
    if missing:
        raise VortexError(
            f"{path}: not weights of {name}: {len(missing)} of {len(weights)} tensors are missing, such as {missing[0]!r}",
            f"give the weights of timm's {name}, a Vortex checkpoint with that encoder, or --encoder-weights none",
            missing[:50],
        )
    wrong = [
        f"{key}: found {tuple(value.shape)}, wanted {tuple(weights[key].shape)}"
        for key, value in matches.items()
        if value is not None and value.shape != weights[key].shape
    ]
    if wrong:
        raise VortexError(
            f"{path}: {len(wrong)} tensors do not have {name}'s shapes: {wrong[0]}", f"give the weights of timm's {name}", wrong[:50]
        )
    encoder.load_state_dict({key: weights[key] if value is None else value for key, value in matches.items()})


def _imagenet_file(name: str) -> Path:
    """Path of timm's ImageNet weights in the hub's local cache, fetched first when they are not there.

    The hub's client retries for about 25 s and logs each try when there is no network (measured with 2.4): so ask once, shortly,
    whether the file can be had, before giving the download to the client.
    """
    import huggingface_hub
    import timm

    config: Any = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise VortexError(f"timm has no ImageNet weights for {name}", OFFLINE_HINT)
    file = config.hf_hub_filename or "model.safetensors"
    cached = huggingface_hub.try_to_load_from_cache(config.hf_hub_id, file)
    if isinstance(cached, str):
        return Path(cached)
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        if not huggingface_hub.constants.HF_HUB_OFFLINE:
            url = huggingface_hub.hf_hub_url(config.hf_hub_id, file)
            huggingface_hub.get_session().head(url, timeout=PROBE_SECONDS)
        return Path(huggingface_hub.hf_hub_download(config.hf_hub_id, file, etag_timeout=PROBE_SECONDS))
    except Exception as error:  # any failure of a foreign network client has the same meaning and remedy here
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise VortexError(f"ImageNet weights of {name} cannot be fetched from the model hub: {reason}", OFFLINE_HINT) from error
    finally:
        log.setLevel(level)
