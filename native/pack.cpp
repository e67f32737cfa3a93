// The weights of a sweep in the order in which its blocks read them: panels of columns, tap after tap, or plane after
// plane where the sweep runs as Winograd tiles.
#include <algorithm>
#include <vector>

#include "buffer.h"
#include "pass.h"
#include "threads.h"

namespace backstride {
namespace {

// What each tap adds to each plane of one axis: [plane][tap], taps in the order in which cells come.
std::vector<std::vector<double>> shares(const Form& form) {
    if (form.planes() == form.taps) {
        std::vector<std::vector<double>> same(static_cast<std::size_t>(form.taps), std::vector<double>(static_cast<std::size_t>(form.taps)));
        for (std::size_t n = 0; n < same.size(); ++n) same[n][n] = 1;
        return same;
    }
    if (form.planes() == 3) return {{1, 0}, {1, 1}, {0, 1}};
    if (form.taps == 2) return {{1, 0}, {0.5, 0.5}, {0.5, -0.5}, {0, 1}};
    return {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
}

struct Share {
    Index tap1, tap2;  // indices into the taps of a sweep
    double factor;
};

// The taps of each plane, with their factors.
std::vector<std::vector<Share>> planes_of(const Forms& forms) {
    const auto lines = shares(forms.lines), columns = shares(forms.columns);
    std::vector<std::vector<Share>> result;
    for (const auto& line : lines)
        for (const auto& column : columns) {
            std::vector<Share> plane;
            for (Index a = 0; a < forms.lines.taps; ++a)
                for (Index b = 0; b < forms.columns.taps; ++b) {
                    const double factor = line[static_cast<std::size_t>(a)] * column[static_cast<std::size_t>(b)];
                    // Cells come in the order of rising inputs, taps in that of falling ones.
                    if (factor != 0) plane.push_back({forms.lines.taps - 1 - a, forms.columns.taps - 1 - b, factor});
                }
            result.push_back(plane);
        }
    return result;
}

// Lays the numbers of one tap out as [depth][columns], `width` numbers from one to the next; columns that the tap does
// not have, and those beyond the last, are zero.
template <typename Scalar>
class Columns {
public:
    Columns(const Problem& p, const Side& side, const Kernels<Scalar>& kernels, bool transpose, const Scalar* w)
        : p_(p), side_(side), kernels_(kernels), transpose_(transpose), w_(w) {}

    void lay(const Axes& tap, Index group, Index column, Index width, Index from, Index depth, Scalar* to) const {
        const Index inputs = p_.groups * p_.small;
        for (Index n = 0, run = 0; n < width; n += run) {
            const Index within = (column + n) % side_.channels;
            run = std::min(width - n, column + n < side_.columns ? side_.channels - within : width - n);
            const Scalar* numbers = column + n < side_.columns ? at(tap, column + n) : nullptr;
            if (!numbers) {
                for (Index c = 0; c < depth; ++c) std::fill_n(to + c * width + n, run, Scalar(0));
            } else if (transpose_ && !side_.depthwise) {
                kernels_.transpose(numbers + group * p_.small + from, inputs, run, depth, to + n, width, false);
            } else {
                for (Index c = 0; c < depth; ++c)
                    std::copy_n(numbers + group * p_.small + (from + c) * (transpose_ ? 1 : inputs), run, to + c * width + n);
            }
        }
    }

private:
    // The kernel's numbers for one column of one tap, or null where it has none.
    const Scalar* at(const Axes& tap, Index column) const {
        const Index inputs = p_.groups * p_.small;
        Index rest = column / side_.channels, flat = 0;
        Axes residue{};
        for (std::size_t axis = 3; axis-- > 0; rest /= side_.stack[axis]) residue[axis] = rest % side_.stack[axis];
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const Index own = side_.stack[axis] > 1 ? stacked_tap(p_, axis, tap[axis], residue[axis]) : tap[axis];
            if (own < 0) return nullptr;
            flat = flat * p_.kernel[axis] + own;
        }
        return w_ + flat * p_.big * inputs + column % side_.channels * (transpose_ && !side_.depthwise ? inputs : 1);
    }

    const Problem& p_;
    const Side& side_;
    const Kernels<Scalar>& kernels_;
    bool transpose_;
    const Scalar* w_;
};

}  // namespace

template <typename Scalar>
void pack(const Problem& p, const Side& side, const Sweep& sweep, const Forms& forms, const Kernels<Scalar>& kernels,
          bool transpose, const Scalar* w, Scalar* packed) {
    const Columns<Scalar> columns_of(p, side, kernels, transpose, w);
    const Index panel = kernels.panel_vectors * kernels.lanes, stride = padded(side.columns, kernels.lanes);
    const Index panels = (side.columns + panel - 1) / panel;
    const auto& [outer, lines, columns] = sweep.axes;
    if (!transpose && !side.depthwise) {
        // Columns lie together in w: whole rows of it, spread over the panels.
        const Index inputs = p.groups * p.small, products = sweep.taps();
        parallel(products * side.groups, [&](Index task) {
            const Index group = task / products, tap = task % products;
            const Scalar* from = w + tap * side.depth * inputs + group * p.small;
            for (Index c = 0; c < side.depth; ++c, from += inputs)
                for (Index column = 0; column < stride; column += panel) {
                    const Index width = std::min(stride - column, panel), count = std::min(side.columns - column, width);
                    Scalar* to = packed + (group * stride + column) * side.depth * products + (tap * side.depth + c) * width;
                    std::copy_n(from + column, count, to);
                    std::fill_n(to + count, width - count, Scalar(0));
                }
        });
        return;
    }
    if (!forms.tiled()) {
        parallel(side.groups * panels, [&](Index task) {
            const Index group = task / panels, column = task % panels * panel, width = std::min(stride - column, panel);
            Scalar* to = packed + (group * stride + column) * side.depth * sweep.taps();
            for (const Index t0 : outer.taps)
                for (const Index t1 : lines.taps)
                    for (const Index t2 : columns.taps) {
                        columns_of.lay({t0, t1, t2}, group, column, width, 0, side.depth, to);
                        to += side.depth * width;
                    }
        });
        return;
    }
    const auto planes = planes_of(forms);
    const auto count = static_cast<Index>(planes.size()), taps = forms.lines.taps * forms.columns.taps;
    constexpr Index piece = 32;  // of the depth, so that all taps of it stay in the cache
    const Index pieces = (side.depth + piece - 1) / piece;
    parallel(side.groups * panels, [&](Index task) {
        const Index group = task / panels, column = task % panels * panel, width = std::min(stride - column, panel);
        static thread_local Scratch<Scalar> buffer;
        Scalar* laid = buffer.get(taps * piece * width);
        for (Index part = 0; part < pieces; ++part) {
            const Index from = part * piece, depth = std::min(piece, side.depth - from), size = depth * width;
            for (Index a = 0; a < forms.lines.taps; ++a)
                for (Index b = 0; b < forms.columns.taps; ++b)
                    columns_of.lay({outer.taps.front(), lines.taps[static_cast<std::size_t>(a)], columns.taps[static_cast<std::size_t>(b)]},
                                   group, column, width, from, depth, laid + (a * forms.columns.taps + b) * size);
            for (Index plane = 0; plane < count; ++plane) {
                Scalar* to = packed + (group * count + plane) * side.depth * stride + column * side.depth + from * width;
                bool first = true;
                for (const Share& share : planes[static_cast<std::size_t>(plane)]) {
                    const Scalar* tap = laid + (share.tap1 * forms.columns.taps + share.tap2) * size;
                    const auto factor = static_cast<Scalar>(share.factor);
                    if (first) for (Index n = 0; n < size; ++n) to[n] = factor * tap[n];
                    else for (Index n = 0; n < size; ++n) to[n] += factor * tap[n];
                    first = false;
                }
            }
        }
    });
}

static bool consecutive(const Axis& axis) {
    if (axis.step != 1 || axis.offsets.empty() || axis.offsets.size() > 3) return false;
    for (std::size_t n = 1; n < axis.offsets.size(); ++n)
        if (axis.offsets[n - 1] - axis.offsets[n] != 1) return false;
    return true;
}

template <typename Scalar>
Forms choose_forms(const Problem& p, const Side& side, const Sweep& sweep, const Kernels<Scalar>& kernels, bool forced) {
    Forms plain;
    const auto& [outer, lines, columns] = sweep.axes;
    if (side.depthwise || outer.taps.size() != 1 || !consecutive(lines) || !consecutive(columns)) return plain;
    const auto choices = [](const Axis& axis) -> std::vector<Form> {
        const auto taps = static_cast<Index>(axis.taps.size());
        if (taps == 1) return {{1, 1}};
        if (taps == 2) return {{2, 2}, {3, 2}};
        return {{2, 3}};
    };
    // Cycles of one image and group, in vectors: products, and what the transforms load, add and store.
    const auto vectors = static_cast<double>(padded(side.columns, kernels.lanes) / kernels.lanes);
    const auto depth = static_cast<double>(side.depth), lanes = static_cast<double>(kernels.lanes);
    double best = forced ? 1e300 : 0.95 * static_cast<double>(sweep.cells() * sweep.taps()) * depth * vectors;
    Forms found = plain;
    for (const Form& line : choices(lines))
        for (const Form& column : choices(columns)) {
            const Forms forms{line, column};
            if (!forms.tiled()) continue;
            const Index tiles = sweep.axes[0].count * ((lines.count + line.outputs - 1) / line.outputs) *
                                ((columns.count + column.outputs - 1) / column.outputs);
            if (tiles * p.batch < 12 && !forced) continue;
            const auto planes = static_cast<double>(forms.planes());
            const double cost = static_cast<double>(tiles) * planes * (depth * vectors + 5 * depth / lanes + 8 * vectors);
            if (cost < best) best = cost, found = forms;
        }
    return found;
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                            \
    template void pack<Scalar>(const Problem&, const Side&, const Sweep&, const Forms&, const Kernels<Scalar>&,  \
                               bool, const Scalar*, Scalar*);                                                    \
    template Forms choose_forms<Scalar>(const Problem&, const Side&, const Sweep&, const Kernels<Scalar>&, bool);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
