// The kernel gradient: w (*kernel, big, groups*small) from x and y, summed over the batch. The order of the terms does not
// depend on the number of threads.
#pragma once

#include "direct.h"
#include "tiles.h"

namespace backstride {

// Whether Winograd tiles run: not at all, in single precision where an estimate of the time is in their favour, or wherever
// neighbouring taps are a stride apart.
enum class Tiling : int { never, automatic, always };

template <typename Scalar>
void correlate_kernel_gradient(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w,
                               Tiling tiling = Tiling::automatic);

// By tiles, as far as they pay or are forced; false where none runs, and where sums are not finite, so that NaN or
// infinity may stand where they should not.
template <typename Scalar>
bool correlate_tiles(const Problem& problem, const Kernels<Scalar>& kernels, bool forced, const Scalar* x, const Scalar* y, Scalar* w);

// By gathered cells; false, with nothing that counts written, where there are none, channels are groups of their own, or NaN
// or infinity would meet taps that take them outside of the output.
template <typename Scalar>
bool correlate_gathered(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w);

}  // namespace backstride
