"""The options of a call: as they were given, and checked against its kernel, once."""

from __future__ import annotations

from dataclasses import dataclass

from backstride.activations import check_activation
from backstride.checks import check_data, kernel_channels, spatial_of
from backstride.implementation import Layer
from backstride.integers import KernelSteps, Padding, Size, kernel_steps
from backstride.layout import AnyDtype, DataFormat, check_data_format


@dataclass(frozen=True, slots=True)
class FittedOptions:
    """Options that fit a kernel, and what follows from both."""

    data_format: DataFormat
    groups: int
    big: int
    """Channels of the larger side."""
    small: int
    activation: str | None
    steps: KernelSteps

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.steps.kernel)

    @property
    def layer(self) -> Layer:
        """What the packed form of the kernel depends on."""
        return Layer(self.groups, self.data_format, self.steps.strides, self.steps.dilation)


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a call asks for beside its arrays, as it was given; `fit` checks all of it."""

    strides: Size = 1
    padding: Padding = "valid"
    output_padding: Size | None = None
    output_shape: Size | None = None
    dilation: Size = 1
    groups: int = 1
    data_format: DataFormat = "channels_last"
    activation: str | None = None
    winograd: bool = True
    algorithm: str | None = None

    def fit(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: AnyDtype,
        *,
        x_shape: tuple[int, ...] | None = None,
    ) -> FittedOptions:
        """Check them against a kernel, `name`, and a convolution's larger side, if known.

        >>> import numpy as np
        >>> fitted = CallOptions(strides=2, groups=2).fit("kernel", (3, 3, 4, 6),
        ...     np.dtype(np.float32))
        >>> fitted.big, fitted.small, fitted.steps.strides
        (8, 6, (2, 2))

        Args:
            name: of the argument that the shape is, in messages.
            shape: that of the kernel, channels included.
            dtype: that of the kernel.
            x_shape: that of the data of C_big channels.

        Raises:
            TypeError: an option is of the wrong kind, or the activation is not exact in this dtype.
            ValueError: an option is not legal, or they do not fit each other, the kernel or the
                data.
        """
        layout = check_data_format(self.data_format)
        groups, big, small = kernel_channels(name, shape, self.groups, layout)
        activation = check_activation(self.activation, dtype)
        spatial, sizes = spatial_of(shape, layout, kernel=True), None
        if x_shape is not None:
            check_data("x", x_shape, len(spatial), big, layout)
            sizes = spatial_of(x_shape, layout)
        steps = kernel_steps(
            spatial,
            input=sizes,
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            output_shape=self.output_shape,
            dilation=self.dilation,
        )
        return FittedOptions(layout, groups, big, small, activation, steps)
