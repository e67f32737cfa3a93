#pragma once

#include "direct.h"
#include "pass.h"
#include "tiles.h"

namespace backstride {

// (batch, *size, channels) in any order of axes: steps between neighbours, in numbers.
template <typename Scalar>
struct View {
    Scalar* data;
    Index image, plane, line, cell, channel;
    Scalar* at(Index n, Index i0, Index i1, Index i2) const { return data + n * image + i0 * plane + i1 * line + i2 * cell; }
};

// `packed` has as many numbers as w, (*kernel, big, small); no groups.
template <typename Scalar>
void pack_overlap(const Problem& problem, const Scalar* w, Scalar* packed);

template <typename Scalar>
void run_overlap(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
                 const Epilogue<Scalar>& epilogue, const View<Scalar>& y);

}  // namespace backstride
