// The direct kernels: the definition as loops over the meetings of cells and taps, no workspace but
// the tables of meetings, one term after the other in the order of taps. Contiguous arrays, channels
// last, three spatial axes (missing ones have size 1). The tested baseline of every faster kernel.
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
