// Depthwise, channels first: (batch, channels, *size) on both sides, each channel's planes alone,
// cells of a line in the lanes.
#pragma once

#include "dense_call.h"
#include "view.h"

namespace backstride {

// y from x, or x from y, by a finite kernel (*kernel, 1, channels) as it came. False, and nothing done, where the cells
// of a line do not lie beside each other, or another way is faster or needs less memory.
template <typename Scalar>
bool run_planes(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const Scalar* kernel,
                const View<const Scalar>& source, const Epilogue<Scalar>& epilogue, const View<Scalar>& target);

}  // namespace backstride
