"""Relatives of AlexNet that torchvision lacks: narrow, as printed in 2012, batch-normalised."""

from __future__ import annotations

from torch import nn


def alexnet_small(num_classes: int, dropout: float) -> nn.Module:
    """AlexNet's plan for 32-pixel images: five convolutions, three poolings, three linear layers.

    Narrower than Krizhevsky et al. (2012), with a smaller first kernel, one dropout instead of
    two, batch normalisation (Ioffe and Szegedy 2015) and He et al.'s initialisation (2015): it
    leaves chance within the tens of steps that a small subset gives, where AlexNet needs hundreds.
    """

    def conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    def linear(inputs: int, outputs: int, deviation: float) -> nn.Module:
        layer = nn.Linear(inputs, outputs)
        nn.init.normal_(layer.weight, std=deviation)
        nn.init.zeros_(layer.bias)
        return layer

    return nn.Sequential(
        *conv(3, 32, 5, stride=2),
        nn.MaxPool2d(3, 2, padding=1),
        *conv(32, 64, 5),
        nn.MaxPool2d(3, 2, padding=1),
        *conv(64, 96, 3),
        *conv(96, 64, 3),
        *conv(64, 64, 3),
        nn.MaxPool2d(3, 2, padding=1),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        linear(64 * 4, 512, 0.07),
        nn.ReLU(inplace=True),
        linear(512, 512, 0.05),
        nn.ReLU(inplace=True),
        linear(512, num_classes, 0.02),
    )


def alexnet_paper(num_classes: int, dropout: float) -> nn.Module:
    """AlexNet as Krizhevsky et al. (2012) print it, whole on one device, for 227 pixels.

    96, 256, 384, 384 and 256 channels, local response normalisation (section 3.3) before
    overlapping pooling (3.4), and the initialisation of section 5. Its authors fed pixels of
    deviation 60 or so; inputs of deviation 1 leave chance later, if at all.
    """
    layers = [
        *_paper_conv(3, 96, 11, bias=0, stride=4, padding=0),
        _response_norm(),
        nn.MaxPool2d(3, 2),
        *_paper_conv(96, 256, 5, bias=1),
        _response_norm(),
        nn.MaxPool2d(3, 2),
        *_paper_conv(256, 384, 3, bias=0),
        *_paper_conv(384, 384, 3, bias=1),
        *_paper_conv(384, 256, 3, bias=1),
        nn.MaxPool2d(3, 2),
        nn.Flatten(),  # (b, 256 * 6 * 6)
        nn.Dropout(dropout),
        _paper_start(nn.Linear(256 * 6 * 6, 4096), bias=1),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        _paper_start(nn.Linear(4096, 4096), bias=1),
        nn.ReLU(inplace=True),
        _paper_start(nn.Linear(4096, num_classes), bias=0),
    ]
    return nn.Sequential(*layers)


def _paper_conv(
    inputs: int, outputs: int, kernel: int, bias: float, stride: int = 1, padding: int | None = None
) -> list[nn.Module]:
    padding = kernel // 2 if padding is None else padding
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    return [_paper_start(layer, bias), nn.ReLU(inplace=True)]


def _paper_start(layer: nn.Conv2d | nn.Linear, bias: float) -> nn.Module:
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.constant_(layer.bias, bias)
    return layer


def _response_norm() -> nn.Module:
    # The paper multiplies the sum over 5 channels by 1e-4; torch multiplies their mean.
    return nn.LocalResponseNorm(size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def alexnet_bn(num_classes: int, dropout: float) -> nn.Module:
    """Torchvision's AlexNet with batch normalisation after each convolution.

    Its last map is averaged to 6 x 6 (adaptive pooling), so that it takes any input from 63
    pixels; convolutions start as in He et al. (2015).
    """

    def conv(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
        layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        return [layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *conv(3, 64, 11, stride=4, padding=2),
        nn.MaxPool2d(3, 2),
        *conv(64, 192, 5, stride=1, padding=2),
        nn.MaxPool2d(3, 2),
        *conv(192, 384, 3, stride=1, padding=1),
        *conv(384, 256, 3, stride=1, padding=1),
        *conv(256, 256, 3, stride=1, padding=1),
        nn.MaxPool2d(3, 2),
        nn.AdaptiveAvgPool2d(6),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(256 * 36, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, num_classes),
    )
