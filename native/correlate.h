// The kernel gradient: w (*kernel, big, groups*small) from x (batch, *input, groups*small) and y
// (batch, *output, groups*big), summed over cells and images. The order of terms does not depend on
// the number of threads.
//
// Three ways: tap by tap (correlate.cpp), by Winograd's tiles (correlate_winograd.cpp), and on
// cells that are copied into the order in which they are read (correlate_gathered.cpp). The latter
// two let taps that lead outside meet zeros, and tell where NaN or infinity may have spread by
// that.
#pragma once

#include <optional>

#include "direct.h"
#include "kernels.h"

namespace backstride {

// Whether Winograd tiles run: not at all, in single precision where an estimate of the time is in their favour, or
// wherever neighbouring taps are a stride apart. `plain` keeps to sums tap by tap, which leave NaN and infinity where
// they belong.
enum class GradientChoice : int { no_tiles, automatic, tiles, tap_by_tap };

template <typename Scalar>
void correlate_kernel_gradient(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y,
                               Scalar* w, GradientChoice choice = GradientChoice::automatic);

// The same, added to what w holds where `adds`. False where NaN or infinity may stand where they should not, as tiles
// and gathered cells spread them: w is of no use then, and `plain` is left.
template <typename Scalar>
bool correlate_part(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w,
                    GradientChoice choice, bool adds);

// By tiles, as far as they pay or are forced: whether sums are finite; nothing where none runs.
template <typename Scalar>
std::optional<bool> correlate_winograd(const Problem& problem, const Kernels<Scalar>& kernels, bool forced,
                                       const Scalar* x, const Scalar* y, Scalar* w, bool adds);

// By gathered cells, where that pays: whether no NaN or infinity met a tap that takes it outside of the output; nothing
// where it does not pay.
template <typename Scalar>
std::optional<bool> correlate_gathered(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* x,
                                       const Scalar* y, Scalar* w, bool adds);

}  // namespace backstride
