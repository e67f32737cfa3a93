// Arrays in any order of axes, box by box: a box of target cells and the source cells that it needs
// are a problem of their own, on contiguous scratch (images, *cells, channels) in the numbers that
// are computed with. Half precision is widened on the way in and rounded once on the way out.
//
// Boxes are cut by the sizes of the problem alone, so that results have the same bits for any
// number of threads. Workspace of a thread: one box, tuning::boxes::box_bytes of both sides.
#pragma once

#include <functional>

#include "correlate.h"
#include "view.h"

namespace backstride {

template <typename Scalar>
using DenseRun =
    std::function<void(const Problem&, const Scalar*, Scalar*, bool alone)>;  // whether there is one box only

// Stored is Scalar, or Half, whose boxes are widened and rounded by `storage`.
template <typename Scalar, typename Stored>
void run_boxes(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const View<const Stored>& source,
               const View<Stored>& target, const DenseRun<Scalar>& run, Storage storage = Storage::float16);

// The target cells [from, to) of some images, contiguous with the channels innermost, rounded to their place.
void store_box(const Kernels<float>& kernels, const View<Half>& target, Index image, Index images, const Axes& from,
               const Axes& to, Index channels, const float* box, Storage storage);

// The kernel gradient of arrays in any order of axes: boxes of both sides, one after the other, summed into w.
template <typename Scalar, typename Stored>
void correlate_views(const Problem& problem, const Kernels<Scalar>& kernels, const View<const Stored>& x,
                     const View<const Stored>& y, Scalar* w, GradientChoice choice, Storage storage = Storage::float16);

// from (count, rows, columns) to (count, columns, rows), a piece that stays in the cache at a time.
template <typename Scalar>
void transpose_all(const Kernels<Scalar>& kernels, const Scalar* from, Index count, Index rows, Index columns,
                   Scalar* to);

// A kernel from (*k, big, small) to (small, big, *k), or back, in one pass.
template <typename Scalar>
void transpose_kernel(const Kernels<Scalar>& kernels, const Scalar* from, Index taps, Index big, Index small,
                      Scalar* to, bool back);

// All numbers, rounded.
template <typename Scalar>
void narrow_all(const Kernels<Scalar>& kernels, const Scalar* from, Index count, Half* to, Storage storage);

}  // namespace backstride
