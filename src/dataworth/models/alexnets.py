"""AlexNet variants that torchvision lacks: small, as published in 2012, batch-normalised."""

from __future__ import annotations

from torch import nn


def alexnet_small(num_classes: int, dropout: float) -> nn.Module:
    """Build AlexNet for 32-pixel images: five convolutions, three poolings, three linear layers.

    Narrower than Krizhevsky et al. (2012), with a smaller first kernel, one dropout instead of
    two, batch normalisation (Ioffe and Szegedy 2015) and He initialisation (2015): its error falls
    below chance level within tens of steps, as many as a small subset has; AlexNet needs hundreds.
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
    """Build AlexNet as in Krizhevsky et al. (2012), on a single device, for 227 pixels.

    96, 256, 384, 384 and 256 channels, local response normalisation (section 3.3) before
    overlapping pooling (3.4), and the initialisation of section 5. In the paper the inputs have a
    standard deviation of about 60; with deviation 1 SGD stays at chance level for longer, or for
    good. Adam at a rate of 1e-4 leaves it within 200 steps (LOG.md).
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
        _paper_init(nn.Linear(256 * 6 * 6, 4096), bias=1),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        _paper_init(nn.Linear(4096, 4096), bias=1),
        nn.ReLU(inplace=True),
        _paper_init(nn.Linear(4096, num_classes), bias=0),
    ]
    return nn.Sequential(*layers)


def _paper_conv(
    inputs: int, outputs: int, kernel: int, bias: float, stride: int = 1, padding: int | None = None
) -> list[nn.Module]:
    padding = kernel // 2 if padding is None else padding
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    return [_paper_init(layer, bias), nn.ReLU(inplace=True)]


def _paper_init(layer: nn.Conv2d | nn.Linear, bias: float) -> nn.Module:
    nn.init.normal_(layer.weight, std=0.01)
    assert layer.bias is not None
    nn.init.constant_(layer.bias, bias)
    return layer


def _response_norm() -> nn.Module:
    # The paper multiplies the sum over 5 channels by 1e-4; torch multiplies their mean.
    return nn.LocalResponseNorm(size=5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def alexnet_bn(num_classes: int, dropout: float) -> nn.Module:
    """Build torchvision's AlexNet with batch normalisation after each convolution.

    The last feature map is pooled to 6 x 6, so that any input from 63 pixels on is valid;
    convolutions are initialised as in He et al. (2015).
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
