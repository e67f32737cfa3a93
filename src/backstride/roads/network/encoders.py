"""Encoders by name.

Classifiers that end in one cell at their native size, for `backstride.transpose`. The built-in ones
have a stride of 32 and are native where their last map is one cell or little more. So nothing is
lost at the borders of larger images: their coarse map has a cell for every 32 pixels.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from backstride.roads.config import ModelConfig, check_model
from backstride.roads.network.mobilenet import mobilenetv3_small
from backstride.roads.network.resnet import resnet34
from backstride.roads.network.vgg import vgg16

SIDES = (32, 48)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)  # of BGR, 0..255, as VGG16 was trained


@dataclass(frozen=True)
class Encoder:
    """A classifier and what it must be fed.

    RGB 0..1, or BGR 0..255 where `caffe`, minus `mean`, over `std`. `natives`: sizes (C, H, W) to
    make it fully convolutional at, best first.
    """

    classifier: nn.Module
    natives: tuple[tuple[int, int, int], ...] = ((3, 32, 32),)
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    caffe: bool = False


def _vgg16(config: ModelConfig) -> Encoder:
    classifier = vgg16(config.classes, config.head, config.head_kernel, config.dropout)
    return Encoder(classifier, ((3, 48, 48),), mean=CAFFE_MEAN, std=(1.0, 1.0, 1.0), caffe=True)


def _resnet34(config: ModelConfig) -> Encoder:
    return Encoder(resnet34(config.classes))


def _mobilenetv3(config: ModelConfig) -> Encoder:
    # native where the last map is more than a cell, so that its squeeze and excitation is seen to
    # pool the image
    return Encoder(mobilenetv3_small(config.classes, config.dropout), ((3, 64, 64),))


def _mobilenetv3_minimal(config: ModelConfig) -> Encoder:
    return Encoder(mobilenetv3_small(config.classes, config.dropout, minimal=True))


BUILT_IN: dict[str, Callable[[ModelConfig], Encoder]] = {
    "vgg16": _vgg16,
    "resnet34": _resnet34,
    "mobilenetv3": _mobilenetv3,
    "mobilenetv3-minimal": _mobilenetv3_minimal,
}


def encoder(config: ModelConfig) -> Encoder:
    """The encoder that `config.encoder` names, with random weights.

    Raises `ValueError` for an unknown name, `ImportError` where the library behind it is missing.
    """
    check_model(config)
    name = config.encoder
    if name in BUILT_IN:
        return BUILT_IN[name](config)
    source, _, model = name.partition(":")
    if source == "pytorchcv" and model:
        return _fitted(name, _pytorchcv(name, model))
    if source == "timm" and model:
        return _fitted(name, _timm(name, model))
    return _fitted(name, _factory(name, source, model))


def _pytorchcv(name: str, model: str) -> nn.Module:
    package = Path(str(_required(name, "pytorchcv").__file__)).parent
    # its own table of models imports all of them, also those that need torchvision
    lines = ast.parse((package / "model_provider.py").read_text(encoding="utf-8")).body
    imports = [line for line in lines if isinstance(line, ast.ImportFrom)]
    modules = [line.module for line in imports if any(alias.name == model for alias in line.names)]
    if not modules:
        message = f"`encoder` (={name!r}): pytorchcv has no model of this name"
        raise ValueError(message)
    network = getattr(_required(name, f"pytorchcv.{modules[0]}"), model)(pretrained=False)
    features = getattr(network, "features", None)
    if isinstance(getattr(features, "final_pool", None), nn.AvgPool2d):
        # a window of 7x7 cells, which at the native size of 224 pixels are all
        assert features is not None
        features.final_pool = nn.AdaptiveAvgPool2d(1)
    return network


def _timm(name: str, model: str) -> nn.Module:
    timm = _required(name, "timm")
    try:
        return timm.create_model(model, pretrained=False)
    except RuntimeError as error:
        message = f"`encoder` (={name!r}): {error}"
        raise ValueError(message) from None


def _factory(name: str, source: str, function: str) -> nn.Module:
    sys.path.insert(0, str(Path.cwd()))
    try:
        make = getattr(importlib.import_module(source), function)
    except ImportError as error:
        message = f"`encoder` (={name!r}) cannot be imported: {error}"
        raise ValueError(message) from None
    except AttributeError:
        message = f"`encoder` (={name!r}): {source} has no {function}"
        raise ValueError(message) from None
    finally:
        _ = sys.path.pop(0)
    made = make()
    if not isinstance(made, nn.Module):
        message = (
            f"`encoder` (={name!r}) gave {type(made).__name__}; it must give a torch.nn.Module"
        )
        raise TypeError(message)
    return made


def _required(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        package = module.partition(".")[0]
        message = (
            f"`encoder` (={name!r}) needs {package}, which is not installed: pip install {package}"
        )
        raise ModuleNotFoundError(message, name=package) from None


def _fitted(name: str, classifier: nn.Module) -> Encoder:
    """Small native sizes that the classifier runs at, and the one that it was made for."""
    own = getattr(classifier, "in_size", None) or (224, 224)
    sizes = (*((side, side) for side in SIDES), (int(own[0]), int(own[1])))
    natives = tuple((3, *size) for size in sizes if _runs(classifier, *size))
    if not natives:
        message = (
            f"`encoder` (={name!r}) takes no images (N, 3, {sizes[-1][0]}, {sizes[-1][1]}) to "
            "scores (N, classes)"
        )
        raise ValueError(message)
    return Encoder(classifier, natives)


def _runs(classifier: nn.Module, rows: int, columns: int) -> bool:
    was = classifier.training
    try:
        with torch.no_grad():
            scores = classifier.eval()(torch.zeros(1, 3, rows, columns))
    except (RuntimeError, ValueError):
        return False
    finally:
        _ = classifier.train(was)
    return isinstance(scores, Tensor) and scores.shape[0] == 1 and scores.numel() == scores.shape[1]
