#include "choose.h"

#include <algorithm>

namespace backstride {
namespace {

// Whether phases have several neighbouring taps on one of the inner axes, and not too many; taps of the outermost axis
// are terms. More than a tile has are split into terms, too, which does not pay where zeros stand among them.
bool tiles_fit(const Problem& p, const Stack& stack, Index lanes) {
    Index most = 1;
    for (std::size_t axis = 1; axis < 3; ++axis) {
        const Index taps = (p.kernel[axis] - 1) / p.strides[axis] + 1;
        if (taps > static_cast<Index>(most_strand_taps) || (p.dilation[axis] > 1 && p.kernel[axis] > 1)) return false;
        most = std::max(most, taps);
    }
    return most > 1 && (most <= static_cast<Index>(most_tile_taps) || useful(p, stack, lanes) >= 0.8);
}

// Part of the outputs of an axis, and the tiles they are cut into.
struct Stretch {
    Axis axis;
    Form form;
};

Stretch stretch(const Axis& whole, Index from, Index count, const Form& form) {
    Stretch result{whole, form};
    result.axis.count = count;
    result.axis.start += from * whole.stride;
    for (Index& offset : result.axis.offsets) offset += from * whole.step;
    return result;
}

// The ways to cut an axis into tiles: of one form, or of three outputs until the rest is a multiple of two.
std::vector<std::vector<Stretch>> cuts(const Axis& axis, const Strand& longest, bool mixes) {
    const auto taps = static_cast<Index>(longest.taps.size());
    if (taps != 2) return {{{axis, {taps == 1 ? 1 : 2, taps}}}};
    std::vector<std::vector<Stretch>> result{{{axis, {2, 2}}}, {{axis, {3, 2}}}};
    const Index rest = (3 - axis.count % 3) % 3 * 2;
    if (mixes && rest > 0 && axis.count > rest)
        result.push_back({stretch(axis, 0, axis.count - rest, {3, 2}), stretch(axis, axis.count - rest, rest, {2, 2})});
    return result;
}

}  // namespace

bool is_depthwise(const Problem& p) { return p.groups > 1 && p.small == 1 && p.big == 1; }

std::vector<Algorithm> algorithms_for(const Problem& p, Index lanes, bool transpose) {
    if (is_depthwise(p)) return {Algorithm::depthwise, Algorithm::definition};
    if (!transpose) return {Algorithm::phases, Algorithm::definition};
    std::vector<Algorithm> result{Algorithm::phases};
    const Stack stack = choose_stack(p, lanes, transpose);
    if (stack != Stack{1, 1, 1}) result.push_back(Algorithm::stacked);
    if (tiles_fit(p, stack, lanes)) result.push_back(Algorithm::winograd);
    if (p.groups == 1) result.push_back(Algorithm::overlap);
    result.push_back(Algorithm::definition);
    return result;
}

template <typename Scalar>
Algorithm algorithm_of(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const Choice& choice) {
    if (choice.algorithm == Algorithm::definition) return choice.algorithm;
    if (is_depthwise(p)) return Algorithm::depthwise;
    if (!transpose) {
        if (choice.algorithm == Algorithm::winograd) return choice.algorithm;
        const bool may = choice.algorithm == Algorithm::automatic && choice.winograd && sizeof(Scalar) == 4;
        return may && p.small >= 24 && p.big >= 24 ? Algorithm::winograd : Algorithm::phases;
    }
    if (choice.algorithm != Algorithm::automatic) return choice.algorithm;
    const Stack stack = choose_stack(p, kernels.lanes, transpose);
    const Index columns = p.big * stack[0] * stack[1] * stack[2];
    if (choice.winograd && sizeof(Scalar) == 4 && p.small >= 24 && columns >= 24 && tiles_fit(p, stack, kernels.lanes)) return Algorithm::winograd;
    if (p.groups == 1 && p.big <= 8 && useful(p, stack, kernels.lanes) < 0.8) return Algorithm::overlap;
    return stack == Stack{1, 1, 1} ? Algorithm::phases : Algorithm::stacked;
}

template <typename Scalar>
std::vector<Tiled> choose_tiles(const Problem& p, const Side& side, const Sweep& sweep, const Kernels<Scalar>& kernels, bool forced) {
    std::vector<Tiled> found{{sweep, Forms()}};
    if (side.depthwise || sweep.cells() == 0) return found;
    const Terms terms(sweep, most_tile_taps);
    if (terms.all.empty()) return found;
    const Index fewest_tiles = side.transpose || forced ? 1 : 12;  // that meet weights from memory
    const Rates rates = nominal_rates(kernels.lanes * static_cast<Index>(sizeof(Scalar)));
    const auto cycles = [&](const Sweep& part, const Forms& forms) {
        return side.transpose ? cost_of(p, side, part, terms, forms, kernels, rates).total() : convolution_cycles(p, side, part, terms, forms, kernels);
    };
    // Processors of an instruction set that multiply less in a cycle gain more from fewer products.
    constexpr double tie = 1.03;
    double best = forced ? 1e300 : (side.transpose ? tie : 1) * cycles(sweep, Forms());
    for (const auto& lines : cuts(sweep.axes[1], terms.lines.front(), !side.transpose))
        for (const auto& columns : cuts(sweep.axes[2], terms.columns.front(), !side.transpose)) {
            std::vector<Tiled> parts;
            double cost = 0;
            Index tiles = 0;
            for (const Stretch& line : lines)
                for (const Stretch& column : columns) {
                    const Forms forms{line.form, column.form};
                    if (!forms.tiled()) return found;
                    parts.push_back({{{sweep.axes[0], line.axis, column.axis}}, forms});
                    cost += cycles(parts.back().sweep, forms);
                    tiles += tiles_of(p, parts.back().sweep, forms);
                }
            if (cost < best && tiles >= fewest_tiles) best = cost, found = parts;
        }
    return found;
}

template <typename Scalar>
std::vector<std::pair<Algorithm, Cost>> predictions(const Problem& p, const Kernels<Scalar>& kernels, bool forced, const Rates& rates) {
    std::vector<std::pair<Algorithm, Cost>> result;
    for (const Algorithm algorithm : algorithms_for(p, kernels.lanes, true)) {
        Cost cost;
        if (algorithm == Algorithm::definition) continue;
        if (algorithm == Algorithm::overlap) {
            cost = cost_of_overlap(p, kernels, rates);
        } else if (algorithm == Algorithm::depthwise) {
            cost = cost_of_depthwise(p, kernels, rates);
        } else {
            const Stack stack = algorithm == Algorithm::phases     ? Stack{1, 1, 1}
                                : algorithm == Algorithm::winograd ? stack_of_tiles(p, kernels.lanes)
                                                                   : choose_stack(p, kernels.lanes, true);
            const Side side(p, stack, true, 1);
            for (const Sweep& sweep : sweeps(p, true, stack, 1)) {
                const Terms terms(sweep, most_tile_taps);
                const bool tiles = algorithm == Algorithm::winograd;
                for (const Tiled& part : tiles ? choose_tiles(p, side, sweep, kernels, forced) : std::vector<Tiled>{{sweep, Forms()}})
                    cost += cost_of(p, side, part.sweep, terms, part.forms, kernels, rates);
            }
        }
        cost.data += data_cycles(p, static_cast<double>(sizeof(Scalar)), cost.total(), rates);
        result.emplace_back(algorithm, cost);
    }
    return result;
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                             \
    template Algorithm algorithm_of<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Choice&);          \
    template std::vector<std::pair<Algorithm, Cost>> predictions<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Rates&); \
    template std::vector<Tiled> choose_tiles<Scalar>(const Problem&, const Side&, const Sweep&, const Kernels<Scalar>&, bool);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
