// Choices are made for a typical call: a problem with as many cells as nothing but they count
// (tuning::choice::typical_cells). Tiles are chosen for the sizes of the call, by trying each form
// on both inner axes.
#include "choose.h"

#include <algorithm>
#include <limits>
#include <map>

#include "tuning.h"

namespace backstride {

using namespace tuning::choice;

namespace {

// Whether phases have several neighbouring taps on one of the inner axes, and not too many; taps of the outermost axis
// are terms, and so are those that a tile does not have.
bool tiles_fit(const Problem& p) {
    Index most = 1;
    for (std::size_t axis = 1; axis < 3; ++axis) {
        const Index taps = (p.kernel[axis] - 1) / p.strides[axis] + 1;
        if (taps > static_cast<Index>(most_strand_taps) || (p.dilation[axis] > 1 && p.kernel[axis] > 1)) return false;
        most = std::max(most, taps);
    }
    return most > 1;
}

// A call that stands for all others with its kernel: so many cells that nothing but they count.
Problem typical(Problem p) {
    std::vector<std::size_t> axes;
    for (std::size_t axis = 0; axis < 3; ++axis)
        if (p.kernel[axis] > 1 || p.strides[axis] > 1) axes.push_back(axis);
    if (axes.empty()) axes.push_back(2);
    p.batch = 1, p.input = p.output = {1, 1, 1}, p.before = {0, 0, 0};
    for (const std::size_t axis : axes) {
        p.input[axis] = typical_cells[axes.size() - 1];
        p.output[axis] = p.input[axis] * std::min<Index>(p.strides[axis], typical_stride);
    }
    return p;
}

// Part of the outputs of an axis, and the tiles they are cut into.
struct Stretch {
    Axis axis;
    Form form;
};

Stretch stretch(const Axis& whole, Index from, Index count, const Form& form) {
    Stretch result{.axis = whole, .form = form};
    result.axis.count = count;
    result.axis.start += from * whole.stride;
    for (Index& offset : result.axis.offsets) offset += from * whole.step;
    return result;
}

// The ways to cut an axis into tiles: of one form, or of three outputs until the rest is a multiple of two.
std::vector<std::vector<Stretch>> cuts(const Axis& axis, const Strand& longest, bool mixes) {
    const auto taps = static_cast<Index>(longest.taps.size());
    const auto all = [&](const Form& form) { return std::vector<Stretch>{{.axis = axis, .form = form}}; };
    if (taps != 2) return {all({.outputs = taps == 1 ? 1 : 2, .taps = taps})};
    constexpr Form two{.outputs = 2, .taps = 2}, three{.outputs = 3, .taps = 2};
    std::vector<std::vector<Stretch>> result{all(two), all(three)};
    const Index rest = (3 - axis.count % 3) % 3 * 2;
    if (mixes && rest > 0 && axis.count > rest)
        result.push_back(std::vector<Stretch>{stretch(axis, 0, axis.count - rest, three),
                                              stretch(axis, axis.count - rest, rest, two)});
    return result;
}

}  // namespace

bool is_depthwise(const Problem& p) { return p.groups > 1 && p.small == 1 && p.big == 1; }

namespace {

// Sweeps of as many cells and taps cost alike: a kernel of many phases has few kinds of them.
template <typename Scalar>
Cost cost_of_sweeps(const Problem& p, const Kernels<Scalar>& kernels, const Stack& stack, bool tiles, bool forced,
                    const Rates& rates) {
    const Side side(p, stack, true, 1);
    std::map<std::array<Index, 6>, Cost> known;
    Cost total;
    for (const Sweep& sweep : sweeps(p, true, stack, 1)) {
        std::array<Index, 6> kind;
        for (std::size_t axis = 0; axis < 3; ++axis)
            kind[axis] = sweep.axes[axis].count, kind[axis + 3] = static_cast<Index>(sweep.axes[axis].taps.size());
        auto [at, fresh] = known.try_emplace(kind);
        if (fresh) {
            const Terms terms(sweep, most_tile_taps);
            for (const Tiled& part : tiles ? choose_tiles(p, side, sweep, kernels, forced)
                                           : std::vector<Tiled>{{.sweep = sweep, .forms = Forms()}})
                at->second += cost_of(p, side, part.sweep, terms, part.forms, kernels, rates);
        }
        total += at->second;
    }
    return total;
}

// In one dimension, cells are transformed once for all phases that have as many taps.
bool shares_cells(const Problem& p) {
    const Index stride = p.strides[2];
    const bool line = p.kernel[0] == 1 && p.kernel[1] == 1 && p.strides[0] == 1 && p.strides[1] == 1;
    const bool alike = p.dilation[2] == 1 && p.kernel[2] > stride && p.kernel[2] % stride == 0;
    return line && alike && stride > 1 && p.big <= most_sharing_channels && stride <= most_stacked_columns / p.big;
}

template <typename Scalar>
Rates nominal_rates_of(const Kernels<Scalar>& kernels) {
    return nominal_rates(kernels.lanes * static_cast<Index>(sizeof(Scalar)));
}

}  // namespace

template <typename Scalar>
Stack choose_stack(const Problem& p, const Kernels<Scalar>& kernels, bool tiles) {
    Stack best{1, 1, 1};
    if (p.groups > 1) return best;
    if (tiles && shares_cells(p)) return {1, 1, p.strides[2]};
    const Problem call = typical(p);
    const auto cycles = [&](const Stack& stack) {
        return cost_of_sweeps(call, kernels, stack, tiles, false, nominal_rates_of(kernels)).total();
    };
    double least = cycles(best) / tie;
    // Tiles stack what plain products stack, which take their place on maps that they do not pay for.
    std::vector<Stack> all{{1, 1, p.strides[2]}, p.strides};
    if (tiles) all = {choose_stack(p, kernels, false)};
    for (const Stack& stack : all) {
        Index times = most_stacked_columns / p.big;
        for (const Index factor : stack) times /= factor;
        if (times == 0 || stack == best) continue;
        if (const double own = cycles(stack); own < least) least = own, best = stack;
    }
    return best;
}

template <typename Scalar>
std::vector<Algorithm> algorithms_for(const Problem& p, const Kernels<Scalar>& kernels) {
    if (is_depthwise(p)) return {Algorithm::depthwise, Algorithm::definition};
    std::vector<Algorithm> result{Algorithm::phases};
    if (choose_stack(p, kernels, false) != Stack{1, 1, 1}) result.push_back(Algorithm::stacked);
    if (tiles_fit(p)) result.push_back(Algorithm::winograd);
    if (p.groups == 1) result.push_back(Algorithm::overlap);
    result.push_back(Algorithm::definition);
    return result;
}

template <typename Scalar>
Algorithm algorithm_of(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const Choice& choice) {
    if (choice.algorithm == Algorithm::definition) return choice.algorithm;
    if (is_depthwise(p)) return Algorithm::depthwise;
    const bool tiles = choice.winograd && sizeof(Scalar) == 4;
    if (!transpose) {
        if (choice.algorithm == Algorithm::winograd) return choice.algorithm;
        const bool may = choice.algorithm == Algorithm::automatic && tiles;
        return may && std::min(p.small, p.big) >= fewest_tiled_channels ? Algorithm::winograd : Algorithm::phases;
    }
    if (choice.algorithm != Algorithm::automatic) return choice.algorithm;
    Algorithm best = Algorithm::phases;
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [algorithm, cost] : predictions(typical(p), kernels, false, nominal_rates_of(kernels)))
        if (cost.total() * tie < least && (tiles || algorithm != Algorithm::winograd))
            least = cost.total(), best = algorithm;
    return best;
}

template <typename Scalar>
std::vector<Tiled> choose_tiles(const Problem& p, const Side& side, const Sweep& sweep, const Kernels<Scalar>& kernels,
                                bool forced) {
    std::vector<Tiled> found{{.sweep = sweep, .forms = Forms()}};
    if (side.depthwise || sweep.cells() == 0) return found;
    const Terms terms(sweep, most_tile_taps);
    if (terms.all.empty()) return found;
    const Index fewest = side.transpose || forced ? 1 : fewest_tiles;
    const Rates rates = nominal_rates_of(kernels);
    const auto cycles = [&](const Sweep& part, const Forms& forms) {
        return side.transpose ? cost_of(p, side, part, terms, forms, kernels, rates).total()
                              : convolution_cycles(p, side, part, terms, forms, kernels);
    };
    double best = forced ? 1e300 : (side.transpose ? tie : 1) * cycles(sweep, Forms());
    for (const auto& lines : cuts(sweep.axes[1], terms.lines.front(), !side.transpose))
        for (const auto& columns : cuts(sweep.axes[2], terms.columns.front(), !side.transpose)) {
            std::vector<Tiled> parts;
            double cost = 0;
            Index tiles = 0;
            for (const Stretch& line : lines)
                for (const Stretch& column : columns) {
                    const Forms forms{.lines = line.form, .columns = column.form};
                    if (!forms.tiled()) return found;
                    parts.push_back({.sweep = {{sweep.axes[0], line.axis, column.axis}}, .forms = forms});
                    cost += cycles(parts.back().sweep, forms);
                    tiles += tiles_of(p, parts.back().sweep, forms);
                }
            if (cost < best && tiles >= fewest) best = cost, found = parts;
        }
    return found;
}

template <typename Scalar>
std::vector<std::pair<Algorithm, Cost>> predictions(const Problem& p, const Kernels<Scalar>& kernels, bool forced,
                                                    const Rates& rates) {
    std::vector<std::pair<Algorithm, Cost>> result;
    for (const Algorithm algorithm : algorithms_for(p, kernels)) {
        if (algorithm == Algorithm::definition) continue;
        const bool tiles = algorithm == Algorithm::winograd;
        Cost cost = algorithm == Algorithm::overlap     ? cost_of_overlap(p, kernels, rates)
                    : algorithm == Algorithm::depthwise ? cost_of_depthwise(p, kernels, rates)
                    : algorithm == Algorithm::phases
                        ? cost_of_sweeps(p, kernels, {1, 1, 1}, false, forced, rates)
                        : cost_of_sweeps(p, kernels, choose_stack(p, kernels, tiles), tiles, forced, rates);
        cost.data += data_cycles(p, static_cast<double>(sizeof(Scalar)), cost.total(), rates);
        result.emplace_back(algorithm, cost);
    }
    return result;
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                                 \
    template Stack choose_stack<Scalar>(const Problem&, const Kernels<Scalar>&, bool);                                 \
    template std::vector<Algorithm> algorithms_for<Scalar>(const Problem&, const Kernels<Scalar>&);                    \
    template Algorithm algorithm_of<Scalar>(const Problem&, const Kernels<Scalar>&, bool, const Choice&);              \
    template std::vector<std::pair<Algorithm, Cost>> predictions<Scalar>(const Problem&, const Kernels<Scalar>&, bool, \
                                                                         const Rates&);                                \
    template std::vector<Tiled> choose_tiles<Scalar>(const Problem&, const Side&, const Sweep&,                        \
                                                     const Kernels<Scalar>&, bool);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
