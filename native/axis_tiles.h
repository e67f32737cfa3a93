// Convolutions of stride 1 by tiles of four outputs along one axis (Toom and Cook, transposed:
// Winograd, Arithmetic Complexity of Computations, 1980): the transform of the input, products on
// every point, and the transform of the output. A longer kernel is blocks of taps, as far apart as
// tiles, so that all blocks read the same tiles; all products are one transposed convolution of as
// many groups as there are points.
//
// source (batch, length*plane, small) and target (batch, count*target_plane, big), or each with
// channels in the second place. The same bits for any number of threads. False, and the target is
// of no use, where numbers are so large that transforms could overflow.
#pragma once

#include "weights.h"

namespace backstride {

constexpr Index axis_outputs = 4;  // of a tile

// Arrays are (batch, cells of the axis, plane, channels), or with channels in the second place.
template <typename Scalar>
struct AxisConvolution {
    const Weights<Scalar>& weights;  // groups are points; taps (1, *plane), (1, blocks, 1), or undilated (1, 1, blocks)
    const Scalar* offset;            // [points][channels], added to the products
    const Scalar *input, *output;    // the matrices [points][points] and [axis_outputs][points]
    Index batch, length, before, count, dilation;  // cells of the input's axis, zeros before them, outputs
    Index taps;  // of the kernel: outputs that meet no cell by them are the offset's alone
    std::array<Index, 2> plane, target_plane, crop;
    const Scalar* source;
    Scalar* target;
    bool source_first, target_first;  // whether channels stand before cells
    Index strip;                      // numbers of the transformed input that a thread takes at once
};

// Whether all numbers are such that tiles may compute with them; the results mean nothing where they are not.
template <typename Scalar>
bool run_axis_convolution(const AxisConvolution<Scalar>& job, const Kernels<Scalar>& kernels);

}  // namespace backstride
