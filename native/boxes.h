// Arrays in any order of axes, box by box: a box of target cells and the source cells that it needs are a problem of
// their own, on contiguous scratch with the channels innermost.
#pragma once

#include <functional>

#include "view.h"

namespace backstride {

template <typename Scalar>
using DenseRun = std::function<void(const Problem&, const Scalar*, Scalar*)>;

// Stored is Scalar, or Half, whose boxes are widened and rounded by `storage`.
template <typename Scalar, typename Stored>
void run_boxes(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const View<const Stored>& source,
               const View<Stored>& target, const DenseRun<Scalar>& run, Storage storage = Storage::float16);

// from (count, rows, columns) to (count, columns, rows), a piece that stays in the cache at a time.
template <typename Scalar>
void turn_all(const Kernels<Scalar>& kernels, const Scalar* from, Index count, Index rows, Index columns, Scalar* to);

}  // namespace backstride
