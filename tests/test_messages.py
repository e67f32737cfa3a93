"""Every refusal's whole sentence, and that what it proposes works.

A message names the argument in backticks, its value, the rule, and the nearest legal call.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import array_api_strict
import numpy as np
import pytest

import backstride

bs: Any = backstride  # wrong types are passed on purpose
strict: Any = array_api_strict.asarray

X1, K1, Y1 = np.ones((1, 4, 1)), np.ones((3, 1, 1)), np.ones((1, 2, 1))
X2, K2 = np.ones((1, 4, 4, 1)), np.ones((3, 3, 1, 1))
X6, K6 = np.ones((1, 4, 4, 6)), np.ones((3, 3, 2, 6))
D = np.ones((2, 2))
PLAN = bs.plan(K1)

Wrong = tuple[Any, tuple[Any, ...], dict[str, Any], type[Exception], str]

# fmt: off
WRONG: list[Wrong] = [
    # arrays that are none
    (bs.conv_transpose, ([[[1.0]]], K1), {}, TypeError, "`x` (=[[[1.0]]]) must be an array, not list; the nearest legal call is numpy.asarray(x)"),
    (bs.conv_transpose, (X1, [[[1.0]]]), {}, TypeError, "`kernel` (=[[[1.0]]]) must be an array, not list; the nearest legal call is numpy.asarray(kernel)"),
    (bs.conv_transpose, (X1, K1, [1.0]), {}, TypeError, "`bias` (=[1.0]) must be an array, not list; the nearest legal call is numpy.asarray(bias)"),
    (bs.conv_transpose, (None, K1), {}, TypeError, "`x` (=None) must be an array, not NoneType"),
    (bs.conv, ("image.png", K1), {}, TypeError, "`x` (='image.png') must be an array, not str"),
    (bs.plan, (3.0,), {}, TypeError, "`kernel` (=3.0) must be an array, not float"),
    (bs.dense, ([[1.0, 2.0]], D), {}, TypeError, "`x` (=[[1.0, 2.0]]) must be an array, not list; the nearest legal call is numpy.asarray(x)"),
    (bs.relu, ([1.0, -1.0],), {}, TypeError, "`x` (=[1.0, -1.0]) must be an array, not list; the nearest legal call is numpy.asarray(x)"),
    (bs.flatten, ([[1.0]],), {}, TypeError, "`x` (=[[1.0]]) must be an array, not list; the nearest legal call is numpy.asarray(x)"),
    (bs.dense_to_conv, ([[1.0]],), {}, TypeError, "`kernel` (=[[1.0]]) must be an array, not list; the nearest legal call is numpy.asarray(kernel)"),
    (bs.relu, (np.ma.masked_array([1.0, -1.0], [False, True]),), {}, TypeError, "`x` is a masked array, whose mask would be lost; the nearest legal call is x.filled(0)"),
    # mixed libraries and dtypes
    (bs.conv_transpose, (strict(X1), K1), {}, TypeError, "`kernel` (an array of numpy) must come from the library of `x`, which is array_api_strict; convert one of them"),
    (bs.conv_transpose, (X1, strict(K1)), {}, TypeError, "`kernel` (an array of array_api_strict) must come from the library of `x`, which is numpy; convert one of them"),
    (bs.conv_transpose, (X1, K1, strict(np.ones(1))), {}, TypeError, "`bias` (an array of array_api_strict) must come from the library of `x`, which is numpy; convert one of them"),
    (bs.conv_kernel_gradient, (X1, strict(Y1), (3, 1, 1)), {}, TypeError, "`y` (an array of array_api_strict) must come from the library of `x`, which is numpy; convert one of them"),
    (PLAN.__call__, (strict(X1),), {}, TypeError, "`x` (an array of array_api_strict) must come from the library of `kernel`, which is numpy; convert one of them"),
    (bs.conv_transpose, (X1.astype("f4"), K1), {}, TypeError, "`x` has dtype float32; it must be float64, as `kernel` is; convert one of them"),
    (bs.conv_transpose, (X1, K1, np.ones(1, "f4")), {}, TypeError, "`bias` has dtype float32; it must be float64, as `kernel` is; convert one of them"),
    (bs.conv_kernel_gradient, (X1, Y1.astype("i4"), (3, 1, 1)), {}, TypeError, "`y` has dtype int32; it must be float64, as `x` is; convert one of them"),
    (bs.dense, (D, D.astype("f4")), {}, TypeError, "`x` has dtype float64; it must be float32, as `kernel` is; convert one of them"),
    (PLAN.__call__, (X1.astype("i4"),), {}, TypeError, "`x` has dtype int32; it must be float64, as `kernel` is; convert one of them"),
    # dtypes that are no numbers, or too wide
    (bs.conv_transpose, (X1.astype(bool), K1.astype(bool)), {}, TypeError, "`kernel` has dtype bool; legal are float32, float64, float16, bfloat16, complex64, complex128, int8, int16, int32, int64, uint8, uint16, uint32, uint64; the nearest of these is uint8"),
    (bs.conv_transpose, (X1.astype(object), K1.astype(object)), {}, TypeError, "`kernel` has dtype object; legal are float32, float64, float16, bfloat16, complex64, complex128, int8, int16, int32, int64, uint8, uint16, uint32, uint64; for exact arithmetic on objects use backstride.reference"),
    (bs.conv_transpose, (X1.astype("U1"), K1.astype("U1")), {}, TypeError, "`kernel` has dtype str32; legal are float32, float64, float16, bfloat16, complex64, complex128, int8, int16, int32, int64, uint8, uint16, uint32, uint64"),
    (bs.conv, (X1, K1.astype("M8[s]")), {}, TypeError, "`kernel` has dtype datetime64[s]; legal are float32, float64, float16, bfloat16, complex64, complex128, int8, int16, int32, int64, uint8, uint16, uint32, uint64"),
    (bs.flatten, (X1.astype("g"),), {}, TypeError, "`x` has dtype float128; legal are float32, float64, float16, bfloat16, complex64, complex128, int8, int16, int32, int64, uint8, uint16, uint32, uint64; the nearest of these is float64"),
    (bs.relu, (X1.astype("c16"),), {}, TypeError, "`x` has dtype complex128; relu needs an order, which complex numbers have not"),
    # shapes
    (bs.conv_transpose, (X1, K2), {}, ValueError, "`x` has shape (1, 4, 1); for this kernel it must have 4 axes: (N, size0, size1, 1)"),
    (bs.conv_transpose, (X2, K1), {}, ValueError, "`x` has shape (1, 4, 4, 1); for this kernel it must have 3 axes: (N, size0, 1)"),
    (bs.conv_transpose, (X2[0], K2), {}, ValueError, "`x` has shape (4, 4, 1); for this kernel it must have 4 axes: (N, size0, size1, 1)"),
    (bs.conv_transpose, (X1, np.ones((3, 1))), {}, ValueError, "`kernel` has shape (3, 1); it must have 1 to 3 spatial axes and 2 for the channels: (*k, C_big // groups, C_small)"),
    (bs.conv_transpose, (X1, np.ones((3, 1))), {"data_format": (
        "channels_first"
    )}, ValueError, "`kernel` has shape (3, 1); it must have 1 to 3 spatial axes and 2 for the channels: (C_small, C_big // groups, *k)"),
    (bs.conv_transpose, (X1, np.ones((2, 2, 2, 2, 1, 1))), {}, ValueError, "`kernel` has shape (2, 2, 2, 2, 1, 1); it must have 1 to 3 spatial axes and 2 for the channels: (*k, C_big // groups, C_small)"),
    (bs.conv_transpose, (X1, np.ones((0, 1, 1))), {}, ValueError, "`kernel` has shape (0, 1, 1); every axis must have at least 1 entry"),
    (bs.conv_transpose, (np.ones((1, 0, 1)), K1), {}, ValueError, "`x` has shape (1, 0, 1); every spatial axis must have at least 1 cell"),
    (bs.conv_transpose, (np.ones((1, 4, 0)), K1), {}, ValueError, "`x` has shape (1, 4, 0), 0 channels; for this kernel and `groups` it must be (N, size0, 1)"),
    (bs.conv_transpose, (np.ones((1, 4, 5)), K1), {}, ValueError, "`x` has shape (1, 4, 5), 5 channels; for this kernel and `groups` it must be (N, size0, 1)"),
    (bs.conv_transpose, (np.ones((1, 5, 4, 4)), np.ones((6, 2, 3, 3))), {"data_format": (
        "channels_first"
    )}, ValueError, "`x` has shape (1, 5, 4, 4), 5 channels; for this kernel and `groups` it must be (N, 6, size0, size1)"),
    (bs.conv, (np.ones((1, 4, 4, 3)), K6), {}, ValueError, "`x` has shape (1, 4, 4, 3), 3 channels; for this kernel and `groups` it must be (N, size0, size1, 2)"),
    (bs.conv_transpose, (X6, K6, np.ones(3)), {}, ValueError, "`bias` has shape (3,); it must be (2,), one entry per output channel"),
    (bs.conv, (np.ones((1, 4, 4, 2)), K6, np.ones((6, 1))), {}, ValueError, "`bias` has shape (6, 1); it must be (6,), one entry per output channel"),
    (bs.dense, (np.ones((2, 3)), np.ones((4, 5))), {}, ValueError, "`x` has shape (2, 3); its last axis must have 4 entries, as `kernel` (4, 5) takes"),
    (bs.dense, (np.ones((2, 3)), np.ones(3)), {}, ValueError, "`kernel` has shape (3,); a dense kernel is (C_in, C_out), both at least 1"),
    (bs.dense, (np.ones((2, 0)), np.ones((0, 5))), {}, ValueError, "`kernel` has shape (0, 5); a dense kernel is (C_in, C_out), both at least 1"),
    (bs.dense, (np.ones((2, 3)), np.ones((3, 5)), np.ones(3)), {}, ValueError, "`bias` has shape (3,); it must be (5,), one entry per output channel"),
    (bs.flatten, (np.array(1.0),), {}, ValueError, "`x` has shape (); it must have a batch axis; the nearest legal call is x.reshape(1)"),
    (bs.dense_to_conv, (np.ones((60, 7)), (4, 7)), {}, ValueError, "`spatial` (=(4, 7)) must have 1 to 3 axes and a number of cells that divides the 60 rows of `kernel`"),
    (bs.dense_to_conv, (np.ones((60, 7)), 4), {}, TypeError, "`spatial` (=4) must be a sequence of integers, not int"),
    (bs.dense_to_conv, (np.ones((60, 7)), (4, 0)), {}, ValueError, "`spatial[1]` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.dense_to_conv, (np.ones((60, 7, 1)),), {}, ValueError, "`kernel` has shape (60, 7, 1); a dense kernel is (C_in, C_out), both at least 1"),
    # kernel_shape and y of the kernel gradient
    (bs.conv_kernel_gradient, (X1, Y1, 3), {}, TypeError, "`kernel_shape` (=3) must be a sequence of integers, not int"),
    (bs.conv_kernel_gradient, (X1, Y1, "311"), {}, TypeError, "`kernel_shape` (='311') must be a sequence of integers, not str"),
    (bs.conv_kernel_gradient, (X1, Y1, (3, 1)), {}, ValueError, "`kernel_shape` (=(3, 1)) must have 1 to 3 spatial entries and 2 for the channels"),
    (bs.conv_kernel_gradient, (X1, Y1, (3, 0, 1)), {}, ValueError, "`kernel_shape[1]` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.conv_kernel_gradient, (X1, Y1, (3, 1.0, 1)), {}, TypeError, "`kernel_shape[1]` (=1.0) must be an integer, not float; the nearest legal value is 1"),
    (bs.conv_kernel_gradient, (X1, X1, (3, 1, 1)), {}, ValueError, "`y` has batch and size (1, 4); the convolution of `x` gives (1, 2)"),
    (bs.conv_kernel_gradient, (X1, np.ones((2, 2, 1)), (3, 1, 1)), {}, ValueError, "`y` has batch and size (2, 2); the convolution of `x` gives (1, 2)"),
    (bs.conv_kernel_gradient, (X1, np.ones((1, 2, 2)), (3, 1, 1)), {}, ValueError, "`y` has shape (1, 2, 2), 2 channels; for this kernel and `groups` it must be (N, size0, 1)"),
    (bs.conv_kernel_gradient, (np.ones((1, 4, 2)), np.ones((1, 2, 4)), (3, 1, 4)), {"groups": 3}, ValueError, "`groups` (=3) must divide C_small (=4) of `kernel_shape` (3, 1, 4); the nearest legal value is 2"),
    # groups
    (bs.conv_transpose, (X6, K6), {"groups": 4}, ValueError, "`groups` (=4) must divide C_small (=6) of `kernel` (3, 3, 2, 6); the nearest legal value is 3"),
    (bs.conv_transpose, (X6, K6), {"groups": 5}, ValueError, "`groups` (=5) must divide C_small (=6) of `kernel` (3, 3, 2, 6); the nearest legal value is 6"),
    (bs.conv_transpose, (X6, K6), {"groups": 0}, ValueError, "`groups` (=0) must divide C_small (=6) of `kernel` (3, 3, 2, 6); the nearest legal value is 1"),
    (bs.conv_transpose, (X6, K6), {"groups": -2}, ValueError, "`groups` (=-2) must divide C_small (=6) of `kernel` (3, 3, 2, 6); the nearest legal value is 1"),
    (bs.conv_transpose, (X6, K6), {"groups": 2.0}, TypeError, "`groups` (=2.0) must be an integer, not float; the nearest legal value is 2"),
    (bs.conv_transpose, (X6, K6), {"groups": True}, TypeError, "`groups` (=True) must be an integer, not bool; the nearest legal value is 1"),
    (bs.conv_transpose, (X6, K6), {"groups": (
        "2"
    )}, TypeError, "`groups` (='2') must be an integer, not str"),
    (bs.conv_transpose, (X6, K6), {"groups": (2, 2)}, TypeError, "`groups` (=(2, 2)) must be an integer, not tuple"),
    # strides and dilation
    (bs.conv_transpose, (X1, K1), {"strides": 0}, ValueError, "`strides` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.conv_transpose, (X1, K1), {"strides": -2}, ValueError, "`strides` (=-2) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.conv_transpose, (X1, K1), {"strides": 1.5}, TypeError, "`strides` (=1.5) must be an integer or a sequence of integers, not float; the nearest legal value is 2"),
    (bs.conv_transpose, (X1, K1), {"strides": 2.0}, TypeError, "`strides` (=2.0) must be an integer or a sequence of integers, not float; the nearest legal value is 2"),
    (bs.conv_transpose, (X1, K1), {"strides": np.float32(2)}, TypeError, "`strides` (=np.float32(2.0)) must be an integer or a sequence of integers, not float32; the nearest legal value is 2"),
    (bs.conv_transpose, (X1, K1), {"strides": math.nan}, TypeError, "`strides` (=nan) must be an integer or a sequence of integers, not float"),
    (bs.conv_transpose, (X1, K1), {"strides": math.inf}, TypeError, "`strides` (=inf) must be an integer or a sequence of integers, not float"),
    (bs.conv_transpose, (X1, K1), {"strides": True}, TypeError, "`strides` (=True) must be an integer or a sequence of integers, not bool; the nearest legal value is 1"),
    (bs.conv_transpose, (X1, K1), {"strides": (
        "2"
    )}, TypeError, "`strides` (='2') must be an integer or a sequence of integers, not str"),
    (bs.conv_transpose, (X1, K1), {"strides": None}, TypeError, "`strides` (=None) must be an integer or a sequence of integers, not NoneType"),
    (bs.conv_transpose, (X2, K2), {"strides": (2, 2, 2)}, ValueError, "`strides` (=(2, 2, 2)) has 3 entries and `kernel` (=(3, 3)) has 2; give one per axis, or a single integer"),
    (bs.conv_transpose, (X2, K2), {"strides": (2,)}, ValueError, "`strides` (=(2,)) has 1 entry and `kernel` (=(3, 3)) has 2; give one per axis, or a single integer"),
    (bs.conv_transpose, (X2, K2), {"strides": (2, 0)}, ValueError, "`strides[1]` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.conv_transpose, (X2, K2), {"strides": np.array([2, 2])}, TypeError, "`strides` (=array([2, 2])) must be an integer or a sequence of integers, not ndarray; the nearest legal call has strides.tolist()"),
    (bs.conv_transpose, (X1, K1), {"strides": 2**63}, ValueError, "`strides` (=9223372036854775808) must be at least 1 and below 2**63"),
    (bs.conv, (X1, K1), {"strides": 0}, ValueError, "`strides` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.plan, (K1,), {"strides": 0}, ValueError, "`strides` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.conv_transpose, (X1, K1), {"dilation": 0}, ValueError, "`dilation` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.conv_transpose, (X1, K1), {"dilation": (1, 1)}, ValueError, "`dilation` (=(1, 1)) has 2 entries and `kernel` (=(3,)) has 1; give one per axis, or a single integer"),
    (bs.conv_transpose, (X1, K1), {"dilation": 0.0}, TypeError, "`dilation` (=0.0) must be an integer or a sequence of integers, not float; the nearest legal value is 1"),
    # padding
    (bs.conv_transpose, (X1, K1), {"padding": (
        "SAME"
    )}, ValueError, '`padding` (=\'SAME\') must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis; the nearest legal value is "same"'),
    (bs.conv_transpose, (X1, K1), {"padding": (
        "SAME_UPPER"
    )}, ValueError, '`padding` (=\'SAME_UPPER\') must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis; the nearest legal value is "same"'),
    (bs.conv_transpose, (X1, K1), {"padding": (
        "full"
    )}, ValueError, '`padding` (=\'full\') must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis'),
    (bs.conv_transpose, (X1, K1), {"padding": None}, TypeError, '`padding` (=None) must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis, not NoneType'),
    (bs.conv_transpose, (X1, K1), {"padding": 1.0}, TypeError, '`padding` (=1.0) must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis, not float; the nearest legal value is 1'),
    (bs.conv_transpose, (X1, K1), {"padding": math.nan}, TypeError, '`padding` (=nan) must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis, not float'),
    (bs.conv_transpose, (X1, K1), {"padding": False}, TypeError, '`padding` (=False) must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis, not bool; the nearest legal value is 0'),
    (bs.conv_transpose, (X2, K2), {"padding": (1, 1)}, ValueError, '`padding` (=(1, 1)) must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis; the nearest legal value is [(1, 1), (1, 1)]'),
    (bs.conv_transpose, (X2, K2), {"padding": (1, 0, 1, 0)}, ValueError, '`padding` (=(1, 0, 1, 0)) must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis; the nearest legal value is [(1, 0), (1, 0)]'),
    (bs.conv_transpose, (X2, K2), {"padding": (1, 1, 1)}, ValueError, '`padding` (=(1, 1, 1)) must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis'),
    (bs.conv_transpose, (X2, K2), {"padding": [(1, 1)]}, ValueError, "`padding` (=[(1, 1)]) has 1 entry and `kernel` (=(3, 3)) has 2; give one per axis, or a single integer"),
    (bs.conv_transpose, (X2, K2), {"padding": []}, ValueError, "`padding` (=[]) has 0 entries and `kernel` (=(3, 3)) has 2; give one per axis, or a single integer"),
    (bs.conv_transpose, (X2, K2), {"padding": [(1, 1), (1,)]}, ValueError, "`padding` (=[(1, 1), (1,)]) must be one (before, after) pair per axis: [(before, after), (before, after)]"),
    (bs.conv_transpose, (X2, K2), {"padding": [(1, 1), (1.5, 1)]}, TypeError, "`padding[1][0]` (=1.5) must be an integer, not float; the nearest legal value is 2"),
    (bs.conv_transpose, (X2, K2), {"padding": [(1, 1), (9, 1)]}, ValueError, "`padding` (=[(1, 1), (9, 1)]) must leave at least 1 of the 6 cells of the full output of axis 1; the nearest legal pair is (5, 0)"),
    (bs.conv_transpose, (X2, K2), {"padding": 9}, ValueError, "`padding` (=9) must leave at least 1 of the 6 cells of the full output of axis 0; the nearest legal value on this axis is 2"),
    (bs.conv_transpose, (X2, K2), {"strides": [1, 2.0]}, TypeError, "`strides[1]` (=2.0) must be an integer, not float; the nearest legal value is 2"),
    (bs.conv_transpose, (X2, K2), {"padding": 1, "output_padding": (0, 3)}, ValueError, "`output_padding[1]` (=3) must be below the larger of stride 1 and dilation 1 on axis 1; the nearest legal value is 0, and a crop pair (before, after - 3) in `padding` adds any number of cells"),
    (bs.conv_transpose, (X2, K2), {"padding": ["same", "same"]}, ValueError, "`padding` (=['same', 'same']) must be one (before, after) pair per axis: [(before, after), (before, after)]"),
    (bs.conv_transpose, (X1, K1), {"padding": 3}, ValueError, "`padding` (=3) must leave at least 1 of the 6 cells of the full output of axis 0; the nearest legal value on this axis is 2"),
    (bs.conv_transpose, (X1, K1), {"padding": [(3, 3)]}, ValueError, "`padding` (=[(3, 3)]) must leave at least 1 of the 6 cells of the full output of axis 0; the nearest legal pair is (3, 2)"),
    (bs.conv_transpose, (X1, K1), {"padding": [(9, 0)]}, ValueError, "`padding` (=[(9, 0)]) must leave at least 1 of the 6 cells of the full output of axis 0; the nearest legal pair is (5, 0)"),
    (bs.conv_transpose, (X1, K1), {"padding": [(2**63, 0)]}, ValueError, "`padding` (=9223372036854775808) must be between -2**63 and 2**63"),
    (bs.plan, (K1,), {"padding": (
        "SAME"
    )}, ValueError, '`padding` (=\'SAME\') must be "same", "same_lower", "valid", an integer, or a (before, after) pair per axis; the nearest legal value is "same"'),
    (bs.conv, (X1, K1), {"padding": -1}, ValueError, '`kernel` (=3) with dilation 1 spans 3 cells, more than the padded input of 2 on axis 0; the nearest legal padding pair is (-1, 0), or padding="same"'),
    (bs.conv, (X1[:, :2], K1), {}, ValueError, '`kernel` (=3) with dilation 1 spans 3 cells, more than the padded input of 2 on axis 0; the nearest legal padding pair is (0, 1), or padding="same"'),
    (bs.conv, (X2, np.ones((3, 5, 1, 1))), {}, ValueError, '`kernel` (=5) with dilation 1 spans 5 cells, more than the padded input of 4 on axis 1; the nearest legal padding pair is (0, 1), or padding="same"'),
    (bs.conv, (X1, K1), {"dilation": 2}, ValueError, '`kernel` (=3) with dilation 2 spans 5 cells, more than the padded input of 4 on axis 0; the nearest legal padding pair is (0, 1), or padding="same"'),
    # output_padding and output_shape
    (bs.conv_transpose, (X1, K1), {"padding": 1, "output_padding": 1}, ValueError, "`output_padding` (=1) must be below the larger of stride 1 and dilation 1 on axis 0; the nearest legal value is 0, and a crop pair (before, after - 1) in `padding` adds any number of cells"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": 1, "output_padding": 2}, ValueError, "`output_padding` (=2) must be below the larger of stride 2 and dilation 1 on axis 0; the nearest legal value is 1, and a crop pair (before, after - 2) in `padding` adds any number of cells"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": 1, "output_padding": -1}, ValueError, "`output_padding` (=-1) must be at least 0 and below 2**63; the nearest legal value is 0"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": 1, "output_padding": 1.0}, TypeError, "`output_padding` (=1.0) must be an integer or a sequence of integers, not float; the nearest legal value is 1"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": 1, "output_padding": (1, 1)}, ValueError, "`output_padding` (=(1, 1)) has 2 entries and `kernel` (=(3,)) has 1; give one per axis, or a single integer"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": (
        "same"
    ), "output_padding": 1}, ValueError, '`output_padding` (=1) goes with explicit padding only, not with padding="same"; name the size with `output_shape`'),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": 1, "output_padding": 1, "output_shape": 8}, ValueError, "`output_padding` (=1) and `output_shape` (=8) both say which size comes out; give one of them"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": (
        "same"
    ), "output_shape": 9}, ValueError, "`output_shape` (=9) must be 7 to 8 on axis 0: the sizes that a convolution with stride 2 and padding='same' maps to 4; the nearest legal value is 8"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": (
        "same"
    ), "output_shape": 6}, ValueError, "`output_shape` (=6) must be 7 to 8 on axis 0: the sizes that a convolution with stride 2 and padding='same' maps to 4; the nearest legal value is 7"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": (
        "same_lower"
    ), "output_shape": 6}, ValueError, "`output_shape` (=6) must be 7 to 8 on axis 0: the sizes that a convolution with stride 2 and padding='same_lower' maps to 4; the nearest legal value is 7"),
    (bs.conv_transpose, (X1, K1), {"strides": 2, "padding": (
        "valid"
    ), "output_shape": 8}, ValueError, "`output_shape` (=8) must be 9 to 10 on axis 0: the sizes that a convolution with stride 2 and padding='valid' maps to 4; the nearest legal value is 9"),
    (bs.conv_transpose, (X1, K1), {"padding": 1, "output_shape": 5}, ValueError, "`output_shape` (=5) must be 4 on axis 0: the sizes that a convolution with stride 1 and padding=1 maps to 4; the nearest legal value is 4"),
    (bs.conv_transpose, (X1, K1), {"padding": (
        "same"
    ), "output_shape": 0}, ValueError, "`output_shape` (=0) must be 4 on axis 0: the sizes that a convolution with stride 1 and padding='same' maps to 4; the nearest legal value is 4"),
    (bs.conv_transpose, (X1, K1), {"padding": (
        "same"
    ), "output_shape": 4.0}, TypeError, "`output_shape` (=4.0) must be an integer or a sequence of integers, not float; the nearest legal value is 4"),
    (bs.conv_transpose, (X1, K1), {"padding": (
        "same"
    ), "output_shape": (1, 4, 1)}, ValueError, "`output_shape` (=(1, 4, 1)) has 3 entries and `kernel` (=(3,)) has 1; give one per axis, or a single integer"),
    (bs.conv_transpose, (X1, K1), {"padding": (
        "same"
    ), "output_shape": (None,)}, TypeError, "`output_shape[0]` (=None) must be an integer, not NoneType"),
    (bs.conv_transpose, (X1, K1), {"padding": 5, "output_shape": 1}, ValueError, "`padding` (=5) must leave at least 1 of the 6 cells of the full output of axis 0; the nearest legal pair is (5, 0)"),
    (bs.conv_transpose, (X1, K1), {"strides": 3, "padding": [(7, 6)], "output_shape": 3}, ValueError, "`output_shape` (=3) must be 1 on axis 0: the sizes that a convolution with stride 3 and padding=[(7, 6)] maps to 4; the nearest legal value is 1"),
    (bs.conv_transpose, (X2, K2), {"strides": (2, 3), "padding": (
        "same"
    ), "output_shape": (8, 13)}, ValueError, "`output_shape` (=13) must be 10 to 12 on axis 1: the sizes that a convolution with stride 3 and padding='same' maps to 4; the nearest legal value is 12"),
    # data_format and activation
    (bs.conv_transpose, (X1[:, :1], K1[:1]), {"data_format": (
        "NCHW"
    )}, ValueError, '`data_format` (=\'NCHW\') must be "channels_last" or "channels_first"; the nearest legal value is "channels_first"'),
    (bs.conv_transpose, (X1, K1), {"data_format": (
        "NHWC"
    )}, ValueError, '`data_format` (=\'NHWC\') must be "channels_last" or "channels_first"; the nearest legal value is "channels_last"'),
    (bs.conv, (X1, K1), {"data_format": None}, ValueError, '`data_format` (=None) must be "channels_last" or "channels_first"; the nearest legal value is "channels_last"'),
    (bs.dense_to_conv, (D,), {"data_format": (
        "CHW"
    )}, ValueError, '`data_format` (=\'CHW\') must be "channels_last" or "channels_first"; the nearest legal value is "channels_last"'),
    (bs.conv_transpose, (X1, K1), {"activation": (
        "ReLU"
    )}, ValueError, "`activation` (='ReLU') must be None or one of relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu; the nearest legal value is 'relu'"),
    (bs.conv_transpose, (X1, K1), {"activation": (
        "softmax"
    )}, ValueError, "`activation` (='softmax') must be None or one of relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu"),
    (bs.conv, (X1, K1), {"activation": max}, ValueError, "`activation` (=<built-in function max>) must be None or one of relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu"),
    (bs.dense, (D, D), {"activation": (
        "Tanh"
    )}, ValueError, "`activation` (='Tanh') must be None or one of relu, relu6, leaky_relu, sigmoid, tanh, gelu, silu; the nearest legal value is 'tanh'"),
    (bs.conv, (X1.astype("i4"), K1.astype("i4")), {"activation": (
        "tanh"
    )}, TypeError, "`activation` (='tanh') is not exact for int32; the nearest legal value is 'relu'"),
    (bs.conv, (X1.astype("c8"), K1.astype("c8")), {"activation": (
        "relu"
    )}, TypeError, "`activation` (='relu') is not defined for complex64 numbers; the nearest legal value is None"),
    # numbers that pass 64 bits, and integers that pass their dtype
    (bs.conv_transpose, (X1, K1), {"strides": 2**62}, ValueError, "`output` would have 18446744073709551616 cells; at most 2**63 - 1 can be counted"),
    (bs.conv_transpose, (np.ones((1024, 4, 1)), K1), {"strides": 2**53}, ValueError, "`output` would have 590295810358705651712 bytes; at most 2**63 - 1 can be counted"),
    (bs.conv, (X1, K1), {"padding": 2**62}, ValueError, "`output` would have 9223372036854775810 cells; at most 2**63 - 1 can be counted"),
    (bs.conv, (X2, K2), {"padding": 2**40}, ValueError, "`output` would have 4835703278467312791846916 cells; at most 2**63 - 1 can be counted"),
    (bs.conv_transpose, (np.full((1, 1, 1), 100, "i1"), np.full((1, 1, 1), 2, "i1")), {}, ValueError, "`x` has dtype int8, in which the result 200 does not fit; the nearest legal call converts the arrays to a wider dtype"),
    (bs.conv, (np.ones((1, 1, 1), "u1"), np.ones((1, 1, 1), "u1"), np.full(1, 255, "u1")), {}, ValueError, "`x` has dtype uint8, in which the result 256 does not fit; the nearest legal call converts the arrays to a wider dtype"),
    (bs.geometry, ((2**32, 2**32), 3), {}, ValueError, "`input` would have 18446744073709551616 cells; at most 2**63 - 1 can be counted"),
    (bs.geometry, (2**62, 3), {"strides": 4}, ValueError, "`output` would have 18446744073709551616 cells; at most 2**63 - 1 can be counted"),
    (bs.geometry, (2**64, 3), {}, ValueError, "`input` (=18446744073709551616) must be at least 1 and below 2**63"),
    # geometry
    (bs.geometry, (0, 3), {}, ValueError, "`input` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.geometry, (7.0, 3), {}, TypeError, "`input` (=7.0) must be an integer or a sequence of integers, not float; the nearest legal value is 7"),
    (bs.geometry, (math.nan, 3), {}, TypeError, "`input` (=nan) must be an integer or a sequence of integers, not float"),
    (bs.geometry, (True, 3), {}, TypeError, "`input` (=True) must be an integer or a sequence of integers, not bool; the nearest legal value is 1"),
    (bs.geometry, ("7", 3), {}, TypeError, "`input` (='7') must be an integer or a sequence of integers, not str"),
    (bs.geometry, (None, 3), {}, TypeError, "`input` (=None) must be an integer or a sequence of integers, not NoneType"),
    (bs.geometry, ((), 3), {}, ValueError, "`input` (=()) has 0 axes; 1 to 3 are supported"),
    (bs.geometry, ((7, 7, 7, 7), 3), {}, ValueError, "`input` (=(7, 7, 7, 7)) has 4 axes; 1 to 3 are supported"),
    (bs.geometry, (((7,),), 3), {}, TypeError, "`input[0]` (=(7,)) must be an integer, not tuple"),
    (bs.geometry, ((7, 7), (3, 3, 3)), {}, ValueError, "`kernel` (=(3, 3, 3)) has 3 entries and `input` (=(7, 7)) has 2; give one per axis, or a single integer"),
    (bs.geometry, (7, 0), {}, ValueError, "`kernel` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.geometry, (7, -3), {}, ValueError, "`kernel` (=-3) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.geometry, (7, 3), {"strides": 2, "output_shape": 2**70}, ValueError, "`output_shape` (=1180591620717411303424) must be 15 to 16 on axis 0: the sizes that a convolution with stride 2 and padding='valid' maps to 7; the nearest legal value is 16"),
    (bs.Geometry, ((7,), (3,), (2,), (1,), ((8, 8),)), {}, ValueError, "`crop` (=(8, 8)) must leave at least 1 of the 15 cells of axis 0; the nearest legal pair is (8, 6)"),
    (bs.Geometry, (7, 3, 2, 1, 0), {}, ValueError, "`crop` (=0) must be one (before, after) pair per axis: [(before, after)]"),
    (bs.Geometry, ((7,), (3,), (2, 2), (1,), ((0, 0),)), {}, ValueError, "`strides` (=(2, 2)) has 2 entries and `input` (=(7,)) has 1; give one per axis, or a single integer"),
    (bs.Geometry, ((7,), (3,), (0,), (1,), ((0, 0),)), {}, ValueError, "`strides[0]` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
    (bs.Geometry, ((7,), (3,), (2,), (1,), ((0, 0.5),)), {}, TypeError, "`crop[0][1]` (=0.5) must be an integer, not float; the nearest legal value is 0"),
    (PLAN.geometry, ((3, 3),), {}, ValueError, "`input` (=(3, 3)) must have one entry per axis, 1 of them"),
    (PLAN.geometry, (0,), {}, ValueError, "`input` (=0) must be at least 1 and below 2**63; the nearest legal value is 1"),
]
# fmt: on


def name(wrong: Wrong) -> str:
    return f"{wrong[0].__name__}-{re.sub('[^a-zA-Z0-9_]+', '-', wrong[4][:50]).strip('-')}"


@pytest.mark.parametrize("wrong", WRONG, ids=name)
def test_the_whole_message(wrong: Wrong) -> None:
    function, arguments, options, error, message = wrong
    with pytest.raises(error) as caught:
        function(*arguments, **options)
    assert type(caught.value) is error
    assert str(caught.value) == message


def test_every_message_names_an_argument_first() -> None:
    for function, _, _, _, message in WRONG:
        parameters = {*inspect.signature(function).parameters, "output", "x"}
        found = re.match(r"`(\w+)[\d\[\]]*` ", message)
        assert found, message
        assert found[1] in parameters, message
        assert "\n" not in message


Better = Callable[[str, Any], Any]


def literal(text: str) -> Better:
    return lambda _name, _given: ast.literal_eval(text)


def expression(text: str) -> Better:
    return lambda name, given: eval(text, {"numpy": np, name: given})  # noqa: S307  our own messages


def astype(text: str) -> Better:
    return lambda _name, given: given.astype(text)


PROPOSALS = {
    r"the nearest legal value(?: on this axis)? is (.+?)(?:, and a crop pair .*)?$": literal,
    r"the nearest legal (?:padding )?pair is (\(.+?\))(?:, or .*)?$": literal,
    r"the nearest legal call (?:is|has) (.+)$": expression,
    r"the nearest of these is (.+)$": astype,
}


def proposal(message: str) -> Better | None:
    """What the message says to pass instead, as a function of what was passed."""
    for pattern, kind in PROPOSALS.items():
        if found := re.search(pattern, message):
            return kind(found[1])
    return None


def place(message: str) -> tuple[str, list[int]]:
    """Which argument a message corrects, and which entry of it: `padding[1][0]` is ("padding", [1,
    0]).
    """
    found = re.match(r"`(\w+)((?:\[\d\])*)`", message)
    assert found, message
    path = [int(digit) for digit in re.findall(r"\d", found[2])]
    axis = re.search(r"axis (\d)(?:; the nearest legal (?:padding )?pair|: the sizes)", message)
    if axis:
        return ("padding" if found[1] == "kernel" else found[1]), [int(axis[1])]
    return found[1], path


def put(given: Any, path: list[int], entry: Any) -> Any:
    if not path:
        return entry
    if not isinstance(given, int):
        entries: list[Any] = [*given]
    else:  # an integer stands for every axis, and for both ends of each
        entries = [entry if isinstance(entry, int) else (given, given)] * (path[0] + 1)
    entries[path[0]] = put(entries[path[0]], path[1:], entry)
    return entries


def corrected(wrong: Wrong) -> inspect.BoundArguments:
    """The arguments of the legal call that the message proposes."""
    function, arguments, options, _, message = wrong
    better = proposal(message)
    assert better is not None, message
    bound = inspect.signature(function).bind(*arguments, **options)
    if "the nearest of these" in message:
        for key, given in bound.arguments.items():
            bound.arguments[key] = better(key, given)
    else:
        key, path = place(message)
        given = bound.arguments.get(key, 0)
        bound.arguments[key] = put(given, path, better(key, given))
    return bound


ADVICE = "the nearest legal call converts the arrays to a wider dtype"  # the user has to choose
PROPOSING = [wrong for wrong in WRONG if "the nearest" in wrong[4] and ADVICE not in wrong[4]]


@pytest.mark.parametrize("wrong", PROPOSING, ids=name)
def test_what_a_message_proposes_is_legal(wrong: Wrong) -> None:
    bound = corrected(wrong)
    _ = wrong[0](*bound.args, **bound.kwargs)


def test_most_messages_propose_something() -> None:
    assert len(WRONG) >= 150
    assert len(PROPOSING) >= 80


def test_a_poor_proposal_would_be_noticed() -> None:
    poor = "`groups` (=4) must divide C_small (=6); the nearest legal value is 4"
    bound = corrected((bs.conv_transpose, (X6, K6), {"groups": 4}, ValueError, poor))
    with pytest.raises(ValueError, match="must divide"):
        bs.conv_transpose(*bound.args, **bound.kwargs)


def test_an_error_has_no_hidden_cause() -> None:
    with pytest.raises(TypeError) as caught:
        bs.geometry(7.0, 3)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("function", "arguments", "name", "message"),
    [
        (
            bs.conv_transpose,
            (X6, K6),
            "bias",
            "`bias` is given by its place: conv_transpose(x, kernel, bias)",
        ),
        (
            bs.conv_transpose,
            (X6, K6),
            "stride",
            "`stride` is no option of conv_transpose; the nearest is strides",
        ),
        (
            bs.plan,
            (K6,),
            "output_pading",
            "`output_pading` is no option of plan; the nearest is output_padding",
        ),
    ],
)
def test_another_library_s_names_are_answered_with_ours(
    function: Callable[..., Any], arguments: tuple[Any, ...], name: str, message: str
) -> None:
    with pytest.raises(TypeError) as caught:
        _ = function(*arguments, **{name: 2})
    assert str(caught.value) == message
