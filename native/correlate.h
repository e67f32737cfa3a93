// The kernel gradient: w (*kernel, big, groups*small) from x and y, summed over the batch. The order of the terms does not
// depend on the number of threads.
#pragma once

#include <optional>

#include "direct.h"
#include "tiles.h"

namespace backstride {

// Whether Winograd tiles run: not at all, in single precision where an estimate of the time is in their favour, or wherever
// neighbouring taps are a stride apart.
enum class Tiling : int { never, automatic, always };

template <typename Scalar>
void correlate_kernel_gradient(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w,
                               Tiling tiling = Tiling::automatic);

// The same, added to what w holds where `adds`. False where tiles ran and gave sums that are not finite, so that NaN or
// infinity may stand where they should not: w is of no use then.
template <typename Scalar>
bool correlate_part(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w, Tiling tiling,
                    bool adds);

// By tiles, as far as they pay or are forced: whether sums are finite; nothing where none runs.
template <typename Scalar>
std::optional<bool> correlate_tiles(const Problem& problem, const Kernels<Scalar>& kernels, bool forced, const Scalar* x, const Scalar* y,
                                    Scalar* w, bool adds);

}  // namespace backstride
