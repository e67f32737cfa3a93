// One table of meetings for each axis; all of them together give the meetings of an image.
#include "direct.h"

#include <algorithm>
#include <vector>

#include "threads.h"
#include "tuning.h"

namespace backstride {
namespace {

struct Meeting {
    std::ptrdiff_t tap, other;
};
using Table = std::vector<std::vector<Meeting>>;

// For every cell of one axis, the taps it meets and the cell on the other side: seen from the input
// (from_input) or from the output. output = input*stride + tap*dilation - before.
Table meetings(const Problem& problem, std::size_t axis, bool from_input) {
    Table table(static_cast<std::size_t>(from_input ? problem.input[axis] : problem.output[axis]));
    for (std::ptrdiff_t tap = 0; tap < problem.kernel[axis]; ++tap) {
        for (std::ptrdiff_t cell = 0; cell < problem.input[axis]; ++cell) {
            const auto target = cell * problem.strides[axis] + tap * problem.dilation[axis] - problem.before[axis];
            if (target < 0 || target >= problem.output[axis]) continue;
            const auto row = static_cast<std::size_t>(from_input ? cell : target);
            table[row].push_back({.tap = tap, .other = from_input ? target : cell});
        }
    }
    return table;
}

// Calls visit(cell, tap, other) with flat indices for all meetings of one image, cell by cell.
template <typename Visit>
void for_each_meeting(const Problem& problem, bool from_input, Visit visit) {
    const Table planes = meetings(problem, 0, from_input);
    const Table rows = meetings(problem, 1, from_input);
    const Table columns = meetings(problem, 2, from_input);
    const Axes& own = from_input ? problem.input : problem.output;
    const Axes& far = from_input ? problem.output : problem.input;
    for (std::ptrdiff_t plane = 0; plane < own[0]; ++plane)
        for (std::ptrdiff_t row = 0; row < own[1]; ++row)
            for (std::ptrdiff_t column = 0; column < own[2]; ++column)
                for (const Meeting& a : planes[static_cast<std::size_t>(plane)])
                    for (const Meeting& b : rows[static_cast<std::size_t>(row)])
                        for (const Meeting& c : columns[static_cast<std::size_t>(column)])
                            visit((plane * own[1] + row) * own[2] + column,
                                  (a.tap * problem.kernel[1] + b.tap) * problem.kernel[2] + c.tap,
                                  (a.other * far[1] + b.other) * far[2] + c.other);
}

std::ptrdiff_t cells(const Axes& size) { return size[0] * size[1] * size[2]; }

// Calls visit(x, y, w) with flat indices for every image, meeting and channel of the large side: x and w
// start runs of `small` numbers, y is one number.
template <typename Visit>
void for_each_term(const Problem& p, bool from_input, Visit visit) {
    const auto inputs = p.groups * p.small, outputs = p.groups * p.big;
    std::ptrdiff_t done = 0;
    for (std::ptrdiff_t image = 0; image < p.batch; ++image)
        for_each_meeting(p, from_input, [&](std::ptrdiff_t own, std::ptrdiff_t tap, std::ptrdiff_t other) {
            if ((done += outputs * p.small) > tuning::threads::products_of_pause) pause(), done = 0;
            const auto small = (image * cells(p.input) + (from_input ? own : other)) * inputs;
            const auto large = (image * cells(p.output) + (from_input ? other : own)) * outputs;
            for (std::ptrdiff_t channel = 0; channel < outputs; ++channel) {
                const auto start = channel / p.big * p.small;
                visit(small + start, large + channel, (tap * p.big + channel % p.big) * inputs + start);
            }
        });
}

}  // namespace

template <typename Scalar>
void direct_conv_transpose(const Problem& p, const Scalar* x, const Scalar* w, Scalar* y) {
    std::fill(y, y + p.batch * cells(p.output) * p.groups * p.big, Scalar(0));
    for_each_term(p, false, [&](std::ptrdiff_t small, std::ptrdiff_t large, std::ptrdiff_t weight) {
        for (std::ptrdiff_t i = 0; i < p.small; ++i) y[large] += x[small + i] * w[weight + i];
    });
}

template <typename Scalar>
void direct_conv(const Problem& p, const Scalar* y, const Scalar* w, Scalar* x) {
    std::fill(x, x + p.batch * cells(p.input) * p.groups * p.small, Scalar(0));
    for_each_term(p, true, [&](std::ptrdiff_t small, std::ptrdiff_t large, std::ptrdiff_t weight) {
        for (std::ptrdiff_t i = 0; i < p.small; ++i) x[small + i] += y[large] * w[weight + i];
    });
}

template <typename Scalar>
void direct_conv_kernel_gradient(const Problem& p, const Scalar* x, const Scalar* y, Scalar* w) {
    std::fill(w, w + cells(p.kernel) * p.big * p.groups * p.small, Scalar(0));
    for_each_term(p, true, [&](std::ptrdiff_t small, std::ptrdiff_t large, std::ptrdiff_t weight) {
        for (std::ptrdiff_t i = 0; i < p.small; ++i) w[weight + i] += y[large] * x[small + i];
    });
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                  \
    template void direct_conv_transpose<Scalar>(const Problem&, const Scalar*, const Scalar*, Scalar*); \
    template void direct_conv<Scalar>(const Problem&, const Scalar*, const Scalar*, Scalar*);           \
    template void direct_conv_kernel_gradient<Scalar>(const Problem&, const Scalar*, const Scalar*, Scalar*);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
