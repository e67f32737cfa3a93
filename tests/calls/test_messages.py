"""Whole messages: the place, what was expected, the nearest names."""

from __future__ import annotations

import pytest

from backstride.calls import parse

MESSAGES = {
    "Conv2DTranspose(128, 3, strides=2": (
        "`call` cannot be read at column 16: '(' was never closed; expected a call such as "
        'Conv2DTranspose(128, 3, strides=2, padding="same")'
    ),
    "x = 1\ny = f(2)": (
        "`call` is no single call at line 1, column 5; expected one such as Conv2DTranspose(128, "
        '3, strides=2, padding="same")'
    ),
    "Conv2DTransposed(128, 3)": (
        "`call` names Conv2DTransposed at column 1, which is not known; the nearest are "
        "Conv2DTranspose, ConvTranspose3d, ConvTranspose2d"
    ),
    "toch.nn.ConvTranspose2d(1, 2, 3)": (
        "`call` names toch.nn.ConvTranspose2d at column 1, which is not known; the nearest are "
        "torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d, torch.nn.ConvTranspose1d"
    ),
    "Conv2DTranspose(128, 3, stride=2)": (
        "`stride` at column 25 is no argument of keras.layers.Conv2DTranspose; the nearest are "
        "strides, trainable"
    ),
    "nn.ConvTranspose2d(1, 2, k)": (
        "`kernel_size` (=k) at column 26 must be written out, for example kernel_size=2: names are "
        "not looked up, and are given with --set name=value"
    ),
    "nn.ConvTranspose2d(1, 2, 3, stride=(2, s))": (
        "`stride` (=(2, s)) at column 29 must be written out, for example stride=2: names are not "
        "looked up, and are given with --set name=value"
    ),
    "nn.ConvTranspose2d(1, 2, 3, kernel_size=3)": (
        "`kernel_size` at column 29 is given twice to torch.nn.ConvTranspose2d; give it once"
    ),
    "nn.ConvTranspose2d(1, "
    "2)": "`kernel_size` is missing from torch.nn.ConvTranspose2d; for example kernel_size=3",
    "nn.ConvTranspose2d(1, 2, 3, padding_mode='reflect')": (
        "`padding_mode` (='reflect') at column 29 must be \"zeros\", the only one that PyTorch "
        'takes here; the nearest legal call has padding_mode="zeros"'
    ),
    "nn.ConvTranspose2d(*sizes)": (
        "`call` has a * at column 20, which names arguments that are not in the text; write them "
        "out"
    ),
    "F.conv_transpose2d(x, w, b, 1, 2, 3, 4, 5, 6)": (
        "`call` has one positional argument too many at column 44; "
        "torch.nn.functional.conv_transpose2d takes at most 8 positional arguments: input, weight, "
        "bias, stride, padding, output_padding, groups, dilation"
    ),
    "k=4 s=2 q=1": (
        "`q` at column 9 is no option; it takes kernel, strides, padding, output_padding, "
        "output_shape, dilation, groups, in_channels, out_channels, input, data_format, activation"
    ),
    "k=4 strdes=1": "`strdes` at column 5 is no option; the nearest are strides",
    "k=4 k=3": "`k` at column 5 is given twice; give it once",
    "4 2 1": (
        "`call` cannot be read at column 1 ('4 2 1'); expected options such as k=4 s=2 p=1, a call "
        'such as Conv2DTranspose(128, 3, strides=2, padding="same"), or model.onnx:node'
    ),
    "": "`call` is empty; expected one such as k=4 s=2 p=1",
    "tf.nn.conv2d_transpose(x, w, [1, h, 14, 8], 2)": (
        "`output_shape` (=(1, h, 14, 8)) at column 30 must be a shape with its spatial sizes "
        "written out; for example output_shape=[n, 14, 14, 128]"
    ),
    "none.onnx:up": (
        "`call` names the file 'none.onnx', which is not there; expected model.onnx:node"
    ),
}


@pytest.mark.parametrize("text", MESSAGES)
def test_the_whole_message(text: str) -> None:
    with pytest.raises(ValueError, match=r"^`") as caught:
        _ = parse(text)
    assert str(caught.value) == MESSAGES[text]
