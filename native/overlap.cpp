// Which form runs, and the weights in the order in which it reads them.
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
        return static_cast<double>(p.kernel[axis] - 1) * static_cast<double>(p.dilation[axis]) / static_cast<double>(p.strides[axis]) + 1;
    };
    const Index rows = rows_of(p);
    return rows <= most_products && span(0) * span(1) * static_cast<double>(rows) * (span(2) + cells_of_line) * sizeof(float) <= lines_in_cache;
}

// In products of a vector: those of the cells in the lanes, and the cells turned; or those with taps in the lanes, whose last
// vector is not full, and the products turned. To turn a square of numbers takes as many shuffles as its vectors times the
// bits of their number, on one of two ports that multiply.
bool turning_pays(const Problem& p, Index lanes) {
    const Index rows = rows_of(p);
    Index turn = 2 * lanes;
    for (Index bits = lanes; bits > 2; bits /= 2) turn += 2 * lanes;
    return padded(rows, lanes) * p.small + padded(rows, lanes) / lanes * turn < rows * p.small + padded(p.small, lanes) / lanes * turn;
}

template <typename Scalar>
bool turns_products(const Problem& p, const Kernels<Scalar>& kernels, const View<const Scalar>& x) {
    return x.channel == 1 && keeps_products(p) && turning_pays(p, kernels.lanes);
}

Index overlap_size(const Problem& p, Index lanes, bool turned) { return p.small * (turned ? padded(rows_of(p), lanes) : rows_of(p)); }

// [tap of the outer axes, where products are not kept][row tile][input channel][row], or as plain products are packed.
template <typename Scalar>
void pack_overlap(const Problem& p, const Kernels<Scalar>& kernels, bool turned, const Scalar* w, Scalar* packed) {
    if (turned) {
        const Problem all = products_of(p);
        return pack(all, Side(all, {1, 1, 1}, true, 1), sweeps(all, true, {1, 1, 1}, 1).front(), Forms(), kernels, w, packed);
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
void run_overlap(const Problem& p, const Kernels<Scalar>& kernels, bool turned, const Scalar* packed, const View<const Scalar>& x,
                 const Epilogue<Scalar>& epilogue, const View<Scalar>& y) {
    if (keeps_products(p)) overlap_products(p, kernels, turned, packed, x, epilogue, y);
    else overlap_lines(p, kernels, packed, x, epilogue, y);
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                      \
    template bool turns_products<Scalar>(const Problem&, const Kernels<Scalar>&, const View<const Scalar>&); \
    template void pack_overlap<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*, Scalar*); \
    template void run_overlap<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Scalar*, const View<const Scalar>&, \
                                      const Epilogue<Scalar>&, const View<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
