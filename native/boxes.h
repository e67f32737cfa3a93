// Arrays in any order of axes, box by box: a box of target cells and the source cells that it needs are a problem of
// their own, on contiguous scratch with the channels innermost.
#pragma once

#include <functional>

#include "view.h"

namespace backstride {

template <typename Scalar>
using DenseRun = std::function<void(const Problem&, const Scalar*, Scalar*)>;

template <typename Scalar>
void run_boxes(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const View<const Scalar>& source,
               const View<Scalar>& target, const DenseRun<Scalar>& run);

}  // namespace backstride
