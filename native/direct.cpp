#include "direct.h"

#include <algorithm>
#include <vector>

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
            table[row].push_back({tap, from_input ? target : cell});
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

// target[i] += factor * source[i]
template <typename Scalar>
void add_scaled(Scalar* target, Scalar factor, const Scalar* source, std::ptrdiff_t count) {
    for (std::ptrdiff_t i = 0; i < count; ++i) target[i] += factor * source[i];
}

}  // namespace

template <typename Scalar>
void conv_transpose(const Problem& p, const Scalar* x, const Scalar* w, Scalar* y) {
    const auto inputs = p.groups * p.small, outputs = p.groups * p.big;
    std::fill(y, y + p.batch * cells(p.output) * outputs, Scalar(0));
    for (std::ptrdiff_t image = 0; image < p.batch; ++image) {
        const Scalar* source = x + image * cells(p.input) * inputs;
        Scalar* target = y + image * cells(p.output) * outputs;
        for_each_meeting(p, false, [&](std::ptrdiff_t cell, std::ptrdiff_t tap, std::ptrdiff_t other) {
            for (std::ptrdiff_t channel = 0; channel < inputs; ++channel)
                add_scaled(target + cell * outputs + channel / p.small * p.big, source[other * inputs + channel],
                           w + (tap * inputs + channel) * p.big, p.big);
        });
    }
}

template <typename Scalar>
void conv(const Problem& p, const Scalar* y, const Scalar* w, Scalar* x) {
    const auto inputs = p.groups * p.small, outputs = p.groups * p.big;
    std::fill(x, x + p.batch * cells(p.input) * inputs, Scalar(0));
    for (std::ptrdiff_t image = 0; image < p.batch; ++image) {
        const Scalar* source = y + image * cells(p.output) * outputs;
        Scalar* target = x + image * cells(p.input) * inputs;
        for_each_meeting(p, true, [&](std::ptrdiff_t cell, std::ptrdiff_t tap, std::ptrdiff_t other) {
            for (std::ptrdiff_t channel = 0; channel < outputs; ++channel) {
                const auto start = channel / p.big * p.small;
                add_scaled(target + cell * inputs + start, source[other * outputs + channel],
                           w + (tap * p.big + channel % p.big) * inputs + start, p.small);
            }
        });
    }
}

template <typename Scalar>
void conv_kernel_gradient(const Problem& p, const Scalar* x, const Scalar* y, Scalar* w) {
    const auto inputs = p.groups * p.small, outputs = p.groups * p.big;
    std::fill(w, w + cells(p.kernel) * p.big * inputs, Scalar(0));
    for (std::ptrdiff_t image = 0; image < p.batch; ++image) {
        const Scalar* small = x + image * cells(p.input) * inputs;
        const Scalar* large = y + image * cells(p.output) * outputs;
        for_each_meeting(p, true, [&](std::ptrdiff_t cell, std::ptrdiff_t tap, std::ptrdiff_t other) {
            for (std::ptrdiff_t channel = 0; channel < outputs; ++channel) {
                const auto start = channel / p.big * p.small;
                add_scaled(w + (tap * p.big + channel % p.big) * inputs + start, large[other * outputs + channel],
                           small + cell * inputs + start, p.small);
            }
        });
    }
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                          \
    template void conv_transpose<Scalar>(const Problem&, const Scalar*, const Scalar*, Scalar*); \
    template void conv<Scalar>(const Problem&, const Scalar*, const Scalar*, Scalar*);           \
    template void conv_kernel_gradient<Scalar>(const Problem&, const Scalar*, const Scalar*, Scalar*);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
