"""PyTorch classifiers: pytorchcv by module, transformers by configuration, and some by hand."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from backstride.surgery import convolutionalize
from backstride.surgery.torch.runner import runner
from backstride.survey.row import Converted, Entry

CV: tuple[
    tuple[str, str, int, str | None], ...
] = (  # name, pytorchcv's module.function, native size, se
    ("AlexNet", "alexnet.alexnet", 224, None),
    ("ZFNet", "zfnet.zfnet", 224, None),
    ("VGG-11 with BatchNorm", "vgg.bn_vgg11", 224, None),
    ("SqueezeNet 1.1", "squeezenet.squeezenet_v1_1", 224, None),
    ("SqueezeResNet 1.1", "squeezenet.squeezeresnet_v1_1", 224, None),
    ("ResNet-18", "resnet.resnet18", 224, None),
    ("ResNet-50", "resnet.resnet50", 224, None),
    ("PreResNet-18", "preresnet.preresnet18", 224, None),
    ("ResNet-20, CIFAR", "resnet_cifar.resnet20_cifar10", 32, None),
    ("ResNeXt-50 32x4d", "resnext.resnext50_32x4d", 224, None),
    ("ResNet-A-18", "resneta.resneta18", 224, None),
    ("SE-ResNet-18", "seresnet.seresnet18", 224, "local"),
    ("SE-ResNet-18", "seresnet.seresnet18", 224, "global"),
    ("SENet-16", "senet.senet16", 224, "local"),
    ("CBAM-ResNet-18", "cbamresnet.cbam_resnet18", 224, "local"),
    ("IBN-ResNet-50", "ibnresnet.ibn_resnet50", 224, "local"),
    ("IBN-ResNet-50", "ibnresnet.ibn_resnet50", 224, "global"),
    ("DPN-68", "dpn.dpn68", 224, None),
    ("DenseNet-121", "densenet.densenet121", 224, None),
    ("PeleeNet", "peleenet.peleenet", 224, None),
    ("HarDNet-39-DS", "hardnet.hardnet39ds", 224, None),
    ("VoVNet-27-slim", "vovnet.vovnet27s", 224, None),
    ("DLA-34", "dla.dla34", 224, None),
    ("DRN-C-26", "drn.drnc26", 224, None),
    ("Network in Network, CIFAR", "nin_cifar.nin_cifar10", 32, None),
    ("Inception v3", "inceptionv3.inceptionv3", 299, None),
    ("Inception v4", "inceptionv4.inceptionv4", 299, None),
    ("Inception-ResNet v2", "inceptionresnetv2.inceptionresnetv2", 299, None),
    ("BN-Inception", "bninception.bninception", 224, None),
    ("Xception", "xception.xception", 299, None),
    ("DarkNet Tiny", "darknet.darknet_tiny", 224, None),
    ("DarkNet Ref", "darknet.darknet_ref", 224, None),
    ("DarkNet-53", "darknet53.darknet53", 224, None),
    ("MobileNet", "mobilenet.mobilenet_w1", 224, None),
    ("MobileNetV2", "mobilenetv2.mobilenetv2_w1", 224, None),
    ("MobileNetV3 small", "mobilenetv3.mobilenetv3_small_w1", 224, "local"),
    ("MobileNetV3 large", "mobilenetv3.mobilenetv3_large_w1", 224, "local"),
    ("MnasNet-B1", "mnasnet.mnasnet_b1", 224, None),
    ("ProxylessNAS CPU", "proxylessnas.proxylessnas_cpu", 224, None),
    ("EfficientNet-B0", "efficientnet.efficientnet_b0", 224, "local"),
    ("EfficientNet-B0", "efficientnet.efficientnet_b0", 224, "global"),
    ("EfficientNet-B0, TensorFlow padding", "efficientnet.efficientnet_b0b", 224, "local"),
    ("EfficientNet-Edge small", "efficientnetedge.efficientnet_edge_small_b", 224, None),
    ("MixNet-S", "mixnet.mixnet_s", 224, "local"),
    ("GhostNet", "ghostnet.ghostnet", 224, "local"),
    ("RegNetX-200MF", "regnet.regnetx002", 224, None),
    ("RegNetY-200MF", "regnet.regnety002", 224, "local"),
    ("ShuffleNet", "shufflenet.shufflenet_g3_wd4", 224, None),
    ("ShuffleNetV2 x0.5", "shufflenetv2.shufflenetv2_wd2", 224, None),
    ("ShuffleNetV2b x0.5", "shufflenetv2b.shufflenetv2b_wd2", 224, None),
    ("HRNet-W18 small", "hrnet.hrnet_w18_small_v1", 224, None),
)
HUB: tuple[
    tuple[str, dict[str, object], str | None], ...
] = (  # transformers' class, configuration, se
    ("ResNet", {}, None),
    ("ConvNext", {}, None),
    ("ConvNextV2", {}, "local"),
    ("ConvNextV2", {}, "global"),
    ("RegNet", {}, "local"),
    ("MobileNetV1", {}, None),
    ("MobileNetV2", {}, None),
    (
        "EfficientNet",
        {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280},
        "local",
    ),
    ("HGNetV2", {}, None),
    ("ViT", {"num_hidden_layers": 2}, None),
)


def entries() -> list[Entry]:
    """All rows of PyTorch."""
    return [
        _entry("LeNet-5", "by hand", lenet, (1, 28, 28), None),
        _entry("VGG-16, adaptive pooling to 7x7", "by hand", vgg16, (3, 224, 224), None),
        *(
            _entry(name, "pytorchcv", partial(_cv, path), (3, size, size), se)
            for name, path, size, se in CV
        ),
        *(
            _entry(f"{name}", "transformers", partial(_hub, name, options), (3, 224, 224), se)
            for name, options, se in HUB
        ),
    ]


def lenet() -> nn.Module:
    """LeNet-5 with maxima and rectifiers."""
    return nn.Sequential(
        *(
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ),
        *(
            nn.Flatten(),
            nn.Linear(256, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        ),
    )


def vgg16(classes: int = 1000) -> nn.Module:
    """Configuration D of Simonyan & Zisserman (arXiv 1409.1556), pooled to 7x7 at its end."""
    layers: list[nn.Module] = []
    channels = 3
    for depth, width in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(depth):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    layers += [
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(512 * 49, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(),
    ]
    layers += [nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(4096, classes)]
    return nn.Sequential(*layers)


def settled(model: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """The model with weights by which every layer matters.

    What starts as one constant is drawn: scales from 0.5 to 1.5, biases around 0. A layer scale of
    1e-6, as ConvNeXt starts with, would hide whatever its block does. The statistics of batch
    normalisations are taken from two random images: with fresh ones, random weights let the image's
    signal fade, and every network gives its bias.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if bool((weight == weight.flatten()[0]).all()):
                _ = (
                    weight.normal_(0, 0.1)
                    if name.endswith(("bias", "beta"))
                    else weight.uniform_(0.5, 1.5)
                )
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    if not layers:
        return model
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        _ = model.train()(torch.randn(2, *shape))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    return model


def _cv(path: str) -> nn.Module:
    module, _, function = path.partition(".")
    return getattr(importlib.import_module(f"pytorchcv.models.{module}"), function)()


def _hub(name: str, options: dict[str, object]) -> nn.Module:
    library = importlib.import_module("transformers")
    return getattr(library, f"{name}ForImageClassification")(
        getattr(library, f"{name}Config")(**options)
    )


def seed() -> None:
    """The same weights in every run."""
    _ = importlib.import_module("torch.random").manual_seed(0)  # untyped


def _entry(
    name: str,
    library: str,
    build: Callable[[], nn.Module],
    shape: tuple[int, int, int],
    se: str | None,
) -> Entry:
    def convert() -> Converted:
        seed()
        model = settled(build(), shape).eval()
        network, report = convolutionalize(model, shape, se=se)
        return runner(model), runner(network), report

    return Entry(name, "PyTorch", library, shape, convert, f'se="{se}"' if se else "")
