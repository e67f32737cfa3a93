// Few output channels: products of taps with cells, overlapped into the output. A small kernel
// meets each input line once: the products of all its taps are kept until the output lines they
// reach are summed from them (overlap_products.cpp). With a large kernel, whose products would not
// fit in the cache, input lines are kept instead (overlap_lines.cpp).
//
// x (batch, *input, small) and y (batch, *output, big) in any order of axes; one group; bias and
// activation on the way out. The same bits for any number of threads.
#pragma once

#include "dense_call.h"
#include "direct.h"
#include "kernels.h"
#include "view.h"

namespace backstride {

// Whether products of all taps are few enough to be kept, with those of all lines that reach an output line. Then lines
// shorter than a vector stand beside each other.
bool keeps_products(const Problem& p);

// Whether it takes fewer instructions to transpose products than to transpose cells, where channels are last.
bool transposing_products_is_cheaper(const Problem& p, Index lanes);

// Whether cells are multiplied as they lie in memory, channels last, and their products are transposed; otherwise cells
// are transposed, or are beside each other as they are.
template <typename Scalar>
bool transposes_products(const Problem& p, const Kernels<Scalar>& kernels, const View<const Scalar>& x);

// How many numbers the packed weights take; w is (*kernel, big, small), no groups.
Index overlap_size(const Problem& problem, Index lanes, bool transposed);

template <typename Scalar>
void pack_overlap(const Problem& problem, const Kernels<Scalar>& kernels, bool transposed, const Scalar* w,
                  Scalar* packed);

template <typename Scalar>
void run_overlap(const Problem& problem, const Kernels<Scalar>& kernels, bool transposed, const Scalar* packed,
                 const View<const Scalar>& x, const Epilogue<Scalar>& epilogue, const View<Scalar>& y);

}  // namespace backstride
