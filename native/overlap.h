#pragma once

#include "direct.h"
#include "pass.h"
#include "tiles.h"
#include "view.h"

namespace backstride {

// `packed` has as many numbers as w, (*kernel, big, small); no groups.
template <typename Scalar>
void pack_overlap(const Problem& problem, const Scalar* w, Scalar* packed);

template <typename Scalar>
void run_overlap(const Problem& problem, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
                 const Epilogue<Scalar>& epilogue, const View<Scalar>& y);

}  // namespace backstride
