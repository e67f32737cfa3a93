// The weights of a sweep in the order in which its blocks read them: panels of columns, tap after tap, or plane after
// plane where the sweep runs as Winograd tiles.
#include <algorithm>
#include <vector>

#include "buffer.h"
#include "pass.h"
#include "threads.h"

namespace backstride {
namespace {

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
    if (!transpose && forms.tiled()) return;  // transformed on the way, piece by piece
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
    const Terms terms(sweep, most_tile_taps);
    const Index planes = forms.planes(), taps = forms.lines.taps * forms.columns.taps;
    constexpr Index piece = 32;  // of the depth, so that all taps of it stay in the cache
    const Index pieces = (side.depth + piece - 1) / piece;
    parallel(side.groups * panels, [&](Index task) {
        const Index group = task / panels, column = task % panels * panel, width = std::min(stride - column, panel);
        static thread_local Scratch<Scalar> buffer;
        Scalar* const laid = buffer.get(taps * piece * width);
        std::vector<const Scalar*> of_taps(static_cast<std::size_t>(taps));
        for (Index number = 0; number < terms.count() * pieces; ++number) {
            const Term& term = terms.all[static_cast<std::size_t>(number / pieces)];
            const Index from = number % pieces * piece, depth = std::min(piece, side.depth - from);
            point_taps(term, forms, of_taps, [&](Index n, const Axes& tap) {
                columns_of.lay(tap, group, column, width, from, depth, laid + n * depth * width);
                return laid + n * depth * width;
            });
            Scalar* to = packed + (group * terms.count() + number / pieces) * planes * side.depth * stride + column * side.depth + from * width;
            kernels.tile_weights({of_taps.data(), width, depth, width, width, to, side.depth * stride, forms.lines, forms.columns});
        }
    });
}

template <typename Scalar>
Forms choose_forms(const Problem& p, const Side& side, const Sweep& sweep, const Kernels<Scalar>& kernels, bool forced) {
    Forms plain;
    if (side.depthwise || side.merged > 1) return plain;
    const Terms terms(sweep, most_tile_taps);
    if (terms.all.empty()) return plain;
    const auto choices = [](const Strand& strand) -> std::vector<Form> {
        const auto taps = static_cast<Index>(strand.taps.size());
        if (taps == 1) return {{1, 1}};
        if (taps == 2) return {{2, 2}, {3, 2}};
        return {{2, 3}};
    };
    // Cycles of one group, in vectors: products, and what the transforms load, add and store.
    const auto& [outer, lines, columns] = sweep.axes;
    const auto vectors = static_cast<double>(padded(side.columns, kernels.lanes) / kernels.lanes);
    const auto depth = static_cast<double>(side.depth), lanes = static_cast<double>(kernels.lanes);
    const auto images = static_cast<double>(p.batch), taps = static_cast<double>(sweep.taps());
    double best = forced ? 1e300 : 0.95 * images * static_cast<double>(sweep.cells()) * taps * depth * vectors;
    if (!side.transpose && !forced) best += 2 * taps * depth * vectors;
    Forms found = plain;
    for (const Form& line : choices(terms.lines.front()))
        for (const Form& column : choices(terms.columns.front())) {
            const Forms forms{line, column};
            if (!forms.tiled()) continue;
            const Index tiles = outer.count * ((lines.count + line.outputs - 1) / line.outputs) *
                                ((columns.count + column.outputs - 1) / column.outputs) * p.batch;
            if (tiles < 12 && !forced) continue;
            double products = 0;
            for (const Term& term : terms.all) products += static_cast<double>(products_of(term, forms));
            const auto planes = static_cast<double>(forms.planes()), of_terms = static_cast<double>(terms.count());
            double cost = static_cast<double>(tiles) * (products * depth * vectors + planes * (5 * of_terms * depth / lanes + 8 * vectors));
            if (!side.transpose) cost += static_cast<double>(tile_blocks_of<Scalar>(p, side, sweep, forms)) * 3 * planes * of_terms * depth * vectors;
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
