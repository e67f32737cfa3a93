// The weights of a sweep in the order in which its blocks read them: panels of columns, tap after tap, or plane after
// plane where the sweep runs as Winograd tiles.
#include <algorithm>
#include <vector>

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

}  // namespace

template <typename Scalar>
void pack(const Problem& p, const Side& side, const Sweep& sweep, const Forms& forms, const Kernels<Scalar>& kernels,
          bool transpose, const Scalar* w, Scalar* packed) {
    const Index inputs = p.groups * p.small, panel = kernels.panel_vectors * kernels.lanes;
    const Index across = transpose && !side.depthwise ? inputs : 1;  // from one column's numbers to the next's
    const Index step = transpose ? 1 : inputs;                       // from one number of the depth to the next
    // The kernel's numbers for one column of one tap, or null where it has none.
    const auto column_of = [&](const Axes& tap, Index column) -> const Scalar* {
        Index rest = column / side.channels, flat = 0;
        Axes residue{};
        for (std::size_t axis = 3; axis-- > 0; rest /= side.stack[axis]) residue[axis] = rest % side.stack[axis];
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const Index own = side.stack[axis] > 1 ? stacked_tap(p, axis, tap[axis], residue[axis]) : tap[axis];
            if (own < 0) return nullptr;
            flat = flat * p.kernel[axis] + own;
        }
        return w + flat * p.big * inputs + column % side.channels * across;
    };
    const Index stride = padded(side.columns, kernels.lanes), panels = (side.columns + panel - 1) / panel;
    const auto& [outer, lines, columns] = sweep.axes;
    if (forms.tiled()) {
        const auto planes = planes_of(forms);
        const auto count = static_cast<Index>(planes.size());
        parallel(side.groups * panels, [&](Index task) {
            const Index group = task / panels, column = task % panels * panel;
            const Index width = std::min(padded(side.columns - column, kernels.lanes), panel);
            for (Index plane = 0; plane < count; ++plane) {
                Scalar* to = packed + (group * count + plane) * side.depth * stride + column * side.depth;
                std::fill(to, to + width * side.depth, Scalar(0));
                for (const Share& share : planes[static_cast<std::size_t>(plane)]) {
                    const Axes tap{outer.taps.front(), lines.taps[static_cast<std::size_t>(share.tap1)],
                                   columns.taps[static_cast<std::size_t>(share.tap2)]};
                    const auto factor = static_cast<Scalar>(share.factor);
                    for (Index n = 0; n < width && column + n < side.columns; ++n) {
                        const Scalar* from = column_of(tap, column + n);
                        if (!from) continue;
                        from += group * p.small;
                        for (Index c = 0; c < side.depth; ++c) to[c * width + n] += factor * from[c * step];
                    }
                }
            }
        });
        return;
    }
    parallel(side.groups * panels, [&](Index task) {
        const Index group = task / panels, column = task % panels * panel;
        const Index width = std::min(padded(side.columns - column, kernels.lanes), panel);
        Scalar* to = packed + (group * stride + column) * side.depth * sweep.taps();
        for (const Index t0 : outer.taps)
            for (const Index t1 : lines.taps)
                for (const Index t2 : columns.taps) {
                    for (Index n = 0; n < width; ++n) {
                        const Scalar* from = column + n < side.columns ? column_of({t0, t1, t2}, column + n) : nullptr;
                        if (from) from += group * p.small;
                        for (Index c = 0; c < side.depth; ++c) to[c * width + n] = from ? from[c * step] : Scalar(0);
                    }
                    to += side.depth * width;
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
