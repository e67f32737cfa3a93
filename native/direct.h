// The direct kernels: the definition as loops over the meetings of cells and taps, one term after
// the other in the order of taps. x (batch, *input, groups*small) is the small side, y (batch,
// *output, groups*big) the large one, w (*kernel, big, groups*small); contiguous, three spatial
// axes, missing ones of size 1. Output cell o meets input cell i by tap t where o = i*stride +
// t*dilation - before.
//
// On one thread; no workspace but the tables of meetings. Exact on integers: the oracle of every
// faster kernel, and what runs where a kernel holds NaN or infinity.
#pragma once

#include <array>
#include <cstddef>

namespace backstride {

using Axes = std::array<std::ptrdiff_t, 3>;

struct Problem {
    std::ptrdiff_t batch, groups;
    std::ptrdiff_t small, big;  // channels per group on the input and output side of conv_transpose
    Axes input, output, kernel, strides, dilation, before;
};

// y (batch, *output, groups*big) from x (batch, *input, groups*small), w (*kernel, big, groups*small).
template <typename Scalar>
void direct_conv_transpose(const Problem& problem, const Scalar* x, const Scalar* w, Scalar* y);

// x from y and w.
template <typename Scalar>
void direct_conv(const Problem& problem, const Scalar* y, const Scalar* w, Scalar* x);

// w from x and y, summed over the batch.
template <typename Scalar>
void direct_conv_kernel_gradient(const Problem& problem, const Scalar* x, const Scalar* y, Scalar* w);

}  // namespace backstride
