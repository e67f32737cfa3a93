// Which form runs, and the weights in the order in which it reads them: [tap of the outer axes,
// where products are not kept][tile of rows][input channel][row], or as plain products are packed
// where taps stand in the lanes.
#include "overlap.h"

#include "overlap_parts.h"
#include "sweep.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::overlap;

namespace {

Index rows_of(const Problem& p) { return cells(p.kernel) * p.big; }

// The products of a cell as output channels of a kernel of one tap, which has the same numbers in the same order.
Problem products_of(const Problem& p) {
    constexpr Axes one{1, 1, 1};
    return {
        .batch = 1,
        .groups = 1,
        .small = p.small,
        .big = rows_of(p),
        .input = one,
        .output = one,
        .kernel = one,
        .strides = one,
        .dilation = one,
        .before = {0, 0, 0},
    };
}

}  // namespace

bool keeps_products(const Problem& p) {
    const auto span = [&](std::size_t axis) {
        return static_cast<double>(p.kernel[axis] - 1) * static_cast<double>(p.dilation[axis]) /
                   static_cast<double>(p.strides[axis]) +
               1;
    };
    const Index rows = rows_of(p);
    return rows <= most_products &&
           span(0) * span(1) * static_cast<double>(rows) * (span(2) + cells_of_line) * sizeof(float) <= lines_in_cache;
}

// In products of a vector: those of the cells in the lanes, and the cells transposed; or those with taps in the lanes,
// whose last vector is not full, and the products transposed. To transpose a square of numbers takes as many shuffles
// as its vectors times the bits of their number, on one of two ports that multiply.
bool transposing_products_is_cheaper(const Problem& p, Index lanes) {
    const Index rows = rows_of(p);
    Index shuffles = 2 * lanes;
    for (Index bits = lanes; bits > 2; bits /= 2) shuffles += 2 * lanes;
    const Index by_taps = padded(rows, lanes) * p.small + padded(rows, lanes) / lanes * shuffles;
    const Index by_cells = rows * p.small + padded(p.small, lanes) / lanes * shuffles;
    return by_taps < by_cells;
}

template <typename Scalar>
bool transposes_products(const Problem& p, const Kernels<Scalar>& kernels, const View<const Scalar>& x) {
    return x.channel == 1 && keeps_products(p) && transposing_products_is_cheaper(p, kernels.lanes);
}

Index overlap_size(const Problem& p, Index lanes, bool transposed) {
    return p.small * (transposed ? padded(rows_of(p), lanes) : rows_of(p));
}

// [tap of the outer axes, where products are not kept][row tile][input channel][row], or as plain products are packed.
template <typename Scalar>
void pack_overlap(const Problem& p, const Kernels<Scalar>& kernels, bool transposed, const Scalar* w, Scalar* packed) {
    if (transposed) {
        const Problem all = products_of(p);
        return pack(all, Side(all, {1, 1, 1}, true, 1), sweeps(all, true, {1, 1, 1}, 1).front(), Forms(), kernels, w,
                    packed);
    }
    const Index all = rows_of(p), rows = keeps_products(p) ? all : p.kernel[2] * p.big;
    for (Index from = 0; from < all; from += rows) {
        Index row = from;
        for (const Index size : row_tiles(rows)) {
            for (Index c = 0; c < p.small; ++c)
                for (Index r = 0; r < size; ++r) *packed++ = w[(row + r) * p.small + c];
            row += size;
        }
    }
}

template <typename Scalar>
void run_overlap(const Problem& p, const Kernels<Scalar>& kernels, bool transposed, const Scalar* packed,
                 const View<const Scalar>& x, const Epilogue<Scalar>& epilogue, const View<Scalar>& y) {
    if (keeps_products(p)) overlap_products(p, kernels, transposed, packed, x, epilogue, y);
    else overlap_lines(p, kernels, packed, x, epilogue, y);
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                            \
    template bool transposes_products<Scalar>(const Problem&, const Kernels<Scalar>&, const View<const Scalar>&); \
    template void pack_overlap<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*, Scalar*);     \
    template void run_overlap<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*,                \
                                      const View<const Scalar>&, const Epilogue<Scalar>&, const View<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
