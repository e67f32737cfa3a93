// Implicit matrix products over row pointers: conv_transpose phase by phase, and conv, without zero
// insertion and without a column buffer. Workspace per thread: the pointers and partial sums of one
// block of rows, under 2 MiB. Contiguous arrays, channels last, three spatial axes.
#pragma once

#include <vector>

#include "direct.h"
#include "tiles.h"

namespace backstride {

// How many numbers the packed form of a kernel takes, for conv_transpose and for conv.
template <typename Scalar>
Index packed_size(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose);

// w is (*kernel, big, groups*small). False where w is not finite: skipped terms would hide a NaN.
template <typename Scalar>
bool pack(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const Scalar* w, Scalar* packed);

template <typename Scalar>
struct Epilogue {
    const Scalar* bias;  // one number per output channel, or null
    Activation activation;
};

// False, with y untouched, where x is not finite and zeros among the packed weights would spread that.
template <typename Scalar>
bool gather_conv_transpose(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x,
                           const Scalar* packed, const Epilogue<Scalar>& epilogue, Scalar* y);

template <typename Scalar>
void gather_conv(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* y, const Scalar* packed,
                 const Epilogue<Scalar>& epilogue, Scalar* x);

// w (*kernel, big, groups*small) from x and y, summed over the batch; the order of the terms does not
// depend on the number of threads.
template <typename Scalar>
void correlate_kernel_gradient(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x,
                               const Scalar* y, Scalar* w);

}  // namespace backstride
