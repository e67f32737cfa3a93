// The model, part by part; its numbers stand in tuning.h. A product takes as long as its
// multiply-adds, its loads or the chain of its sums, whichever is longest, and weights that come
// from slower caches as long as they come.
#include "cost.h"

#include <algorithm>
#include <cmath>

#include "overlap.h"
#include "overlap_parts.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::model;
using tuning::overlap::piece_vectors;
using tuning::rows::block_rows;
using tuning::tiles::panels_at_once;

namespace {

// The rows of a tile of so many vectors, where a full panel has `panel_vectors`.
Index rows_of_tile(Index panel_vectors, Index vectors) { return tile_rows(8 * panel_vectors, vectors); }

double cells_of(const Axes& size) {
    return static_cast<double>(size[0]) * static_cast<double>(size[1]) * static_cast<double>(size[2]);
}

// Where weights come from, in bytes a cycle.
struct Source {
    double first, again;  // for the first rows that pass, and for the others
};

// `rows` rows against panels of weights, `pieces` times.
class Panels {
public:
    Panels(const Rates& rates, Index panel_vectors, Index columns, double vector_bytes)
        : rates_(rates), panel_vectors_(panel_vectors), columns_(columns), vector_bytes_(vector_bytes) {}

    void add(Cost& cost, Index rows, double steps, const Source& source, double times) const {
        const auto full = static_cast<double>(columns_ / panel_vectors_);
        if (full > 0) panel(cost, rows, steps, panel_vectors_, source, times * full);
        if (columns_ % panel_vectors_) panel(cost, rows, steps, columns_ % panel_vectors_, source, times);
    }

private:
    void panel(Cost& cost, Index rows, double steps, Index vectors, const Source& source, double times) const {
        const Index tall = rows_of_tile(panel_vectors_, vectors), left = rows % tall;
        const Index last = left == 0                                                      ? 0
                           : vectors == panel_vectors_ && left <= tuning::loops::few_rows ? (left == 3 ? 4 : left)
                                                                                          : tall;
        bool first = true;
        for (const auto& [height, count] : {std::pair<Index, Index>{tall, rows / tall}, {last, last > 0 ? 1 : 0}}) {
            if (count == 0) continue;
            const auto h = static_cast<double>(height), v = static_cast<double>(vectors),
                       n = static_cast<double>(count);
            const double products = h * v / rates_.multiply_adds / share_of_peak;
            const double bound = std::max(products, std::max((h + v) / rates_.loads, cycles_of_chain) / share_of_peak);
            const double bytes = v * vector_bytes_, again = std::max(bound, bytes / source.again);
            cost.products += times * n * steps * products;
            cost.steps += times * n * (steps * (bound - products) + h * v * cycles_of_sum + cycles_of_tile);
            cost.weights += times * n * steps * (again - bound);
            if (first) cost.weights += times * steps * (std::max(bound, bytes / source.first) - again);
            first = false;
        }
    }

    const Rates& rates_;
    Index panel_vectors_, columns_;
    double vector_bytes_;
};

// Where the pieces of stacked cells go that do not lie together: copied, one after the other.
double spills(const Side& side, double rows, double vectors) {
    const auto pieces = static_cast<double>(side.stack[0] * side.stack[1]);
    return pieces > 1 ? rows * (pieces * cycles_of_spill + vectors * cycles_of_copy) : 0;
}

// The share of meetings of outputs and taps that a plain product does not leave out.
double inside(const Problem& p, const Sweep& sweep, Index fewest_rows) {
    double share = 1;
    if (!images_inside(p, sweep) && sweep.cells() * p.batch > fewest_rows) return share;
    for (const Axis& axis : sweep.axes) {
        Index count = 0;
        for (Index q = 0; q < axis.count; ++q)
            for (const Index offset : axis.offsets)
                count += q * axis.step + offset >= 0 && q * axis.step + offset < axis.extent;
        share *= static_cast<double>(count) / static_cast<double>(axis.count * static_cast<Index>(axis.taps.size()));
    }
    return share;
}

// What is known of a whole call.
struct Bytes {
    double weights, source, results;
    double all() const { return weights + source + results; }
};

Source source_of(const Bytes& bytes, double piece, bool repeats, const Rates& rates) {
    const bool stays = bytes.weights < share_of_cache * rates.second_size &&
                       (repeats || bytes.all() < share_of_second * rates.second_size);
    const double first = stays ? rates.second : bytes.weights < rates.third_size ? rates.third : rates.memory;
    return {.first = first, .again = piece < share_of_first * rates.first_size ? unlimited : rates.second};
}

}  // namespace

Rates nominal_rates(Index vector_bytes) {
    namespace nominal = tuning::nominal;
    const bool wide = vector_bytes == 64;
    return {
        .multiply_adds = nominal::multiply_adds,
        .loads = nominal::loads,
        .second = nominal::second,
        .third = nominal::third,
        .memory = nominal::memory,
        .first_size = wide ? nominal::wide_first_size : nominal::first_size,
        .second_size = wide ? nominal::wide_second_size : nominal::second_size,
        .third_size = nominal::third_size,
    };
}

Cost& Cost::operator+=(const Cost& other) {
    products += other.products, steps += other.steps, weights += other.weights, transforms += other.transforms,
        data += other.data;
    return *this;
}

Cost Cost::operator*(double factor) const {
    return {
        .products = products * factor,
        .steps = steps * factor,
        .weights = weights * factor,
        .transforms = transforms * factor,
        .data = data * factor,
    };
}

template <typename Scalar>
Cost cost_of(const Problem& p, const Side& side, const Sweep& sweep, const Terms& terms, const Forms& forms,
             const Kernels<Scalar>& kernels, const Rates& rates) {
    constexpr double size = sizeof(Scalar);
    Cost cost;
    if (sweep.cells() * p.batch == 0) return cost;
    const auto depth = static_cast<double>(side.depth), groups = static_cast<double>(side.groups),
               lanes = static_cast<double>(kernels.lanes);
    const Index vectors = padded(side.columns, kernels.lanes) / kernels.lanes;
    const double taps = static_cast<double>(sweep.taps()), planes = static_cast<double>(forms.planes());
    const double number =
        cells_of(p.kernel) * depth / static_cast<double>(side.merged) * static_cast<double>(side.channels) * groups;
    const auto moved = [&](const Axes& cells, Index channels) {
        return static_cast<double>(p.batch * cells[0] * cells[1] * cells[2] * channels) * size;
    };
    Bytes bytes{
        .weights = number * size,
        .source = moved(side.source, side.source_channels),
        .results = moved(side.target, side.target_channels),
    };
    if (forms.tiled()) bytes.weights *= planes * static_cast<double>(terms.count()) / taps;
    const double vector_bytes = lanes * size;
    const Panels panels(rates, kernels.panel_vectors, vectors, vector_bytes);
    if (!forms.tiled()) {
        const Index rows = sweep.cells() * p.batch, blocks = ceil_div(rows, block_rows);
        const double share = inside(p, sweep, rows_of_tile(kernels.panel_vectors, kernels.panel_vectors)),
                     steps = taps * depth;
        const double piece = std::min(
            steps * vector_bytes * static_cast<double>(std::min(vectors, kernels.panel_vectors)), piece_of_panel);
        const Source source = source_of(bytes, piece, blocks > 1, rates);
        if (blocks > 1) panels.add(cost, block_rows, steps * share, source, groups * static_cast<double>(blocks - 1));
        panels.add(cost, rows - (blocks - 1) * block_rows, steps * share, source, groups);
        const auto pointed = static_cast<double>(rows) * groups;
        const double each = cycles_of_row + (images_inside(p, sweep) ? cycles_of_image : 0) + taps * cycles_of_pointer;
        cost.steps += pointed * each + spills(side, pointed, static_cast<double>(vectors));
        return cost;
    }
    const Cut cut = cut_of_tiles<Scalar>(p, side, sweep, forms);
    const Index all = tiles_of(p, sweep, forms), blocks = ceil_div(all, cut.rows),
                full = ceil_div(vectors, kernels.panel_vectors);
    const Index pieces = ceil_div(side.depth, cut.depth);
    const bool whole = terms.count() == 1 && pieces == 1;
    const double repeats = whole ? 1 : static_cast<double>(ceil_div(full, panels_at_once));
    double products = 0;
    for (const Term& term : terms.all) products += static_cast<double>(products_of(term, forms));
    const double piece = depth / static_cast<double>(pieces);
    const Source source = source_of(
        bytes, piece * vector_bytes * static_cast<double>(std::min(vectors, kernels.panel_vectors)), blocks > 1, rates);
    const double times = groups * products * static_cast<double>(pieces);
    if (blocks > 1) panels.add(cost, cut.rows, piece, source, times * static_cast<double>(blocks - 1));
    panels.add(cost, all - (blocks - 1) * cut.rows, piece, source, times);
    const auto rows = static_cast<double>(all) * groups,
               outputs = static_cast<double>(forms.lines.outputs * forms.columns.outputs);
    const double in = repeats * static_cast<double>(terms.count()) * planes *
                      static_cast<double>(padded(side.depth, kernels.lanes)) / lanes;
    const double lines =
        (in * cycles_of_input + outputs * static_cast<double>(vectors) * cycles_of_output) * vector_bytes / 64;
    cost.transforms +=
        rows * (lines + outputs * cycles_of_target) + spills(side, rows * outputs, static_cast<double>(vectors));
    // Products do not run while transforms wait for what no cache holds.
    const double part = static_cast<double>(sweep.cells()) /
                        (cells_of(side.target) / static_cast<double>(side.columns / side.channels));
    if (bytes.source + bytes.results > rates.third_size)
        cost.data += (bytes.source + part * bytes.results) / rates.memory;
    cost.steps += groups * static_cast<double>(blocks) * cycles_of_block;
    return cost;
}

namespace {

// Cells in the lanes, of one vector after the other: the shortest time of the products of a channel with the weights of
// `rows`.
double lane_cycles(Index rows, const Rates& rates) {
    double cycles = 0;
    for (const Index size : row_tiles(rows)) {
        const auto h = static_cast<double>(size), v = static_cast<double>(piece_vectors);
        cycles += std::max({h * v / rates.multiply_adds, (h + v + 2) / rates.loads, cycles_of_chain}) / v;
    }
    return cycles;
}

}  // namespace

template <typename Scalar>
Cost cost_of_overlap(const Problem& p, const Kernels<Scalar>& kernels, const Rates& rates) {
    // Cells are transposed and multiplied with all taps; or multiplied as they lie, taps in the lanes, and the products
    // transposed.
    const auto lanes = static_cast<double>(kernels.lanes), depth = static_cast<double>(p.small);
    const auto vectors_of = [&](Index count) { return static_cast<double>(padded(count, kernels.lanes)) / lanes; };
    const Axes& k = p.kernel;
    const bool kept = keeps_products(p), beside = kept && p.input[2] < piece_vectors * kernels.lanes;
    const double lines = static_cast<double>(p.batch * p.input[0] * p.input[1]),
                 output_lines = static_cast<double>(p.batch * p.output[0] * p.output[1]);
    const double vectors = beside ? lines * static_cast<double>(p.input[2]) / lanes : lines * vectors_of(p.input[2]);
    const double transposing = cycles_of_transposing * std::log2(lanes),
                 times_met = kept ? 1 : static_cast<double>(k[0] * k[1]);
    Cost cost;
    if (kept && transposing_products_is_cheaper(p, kernels.lanes)) {
        const double columns = vectors_of(k[0] * k[1] * k[2] * p.big), cells = vectors * lanes;
        const Panels panels(rates, kernels.panel_vectors, static_cast<Index>(columns),
                            lanes * static_cast<double>(sizeof(Scalar)));
        panels.add(cost, static_cast<Index>(cells), depth, {.first = unlimited, .again = unlimited}, 1);
        cost.steps += cells * (cycles_of_row + cycles_of_pointer) + vectors * columns * lanes * transposing;
    } else {
        const Index rows = (kept ? k[0] * k[1] : 1) * k[2] * p.big;
        cost.products = vectors * times_met * depth * lane_cycles(rows, rates) * cycles_of_lanes;
        const double sums = vectors * static_cast<double>(rows) *
                            (kept ? 1 : static_cast<double>(p.strides[0]) * static_cast<double>(p.strides[1]));
        cost.steps = vectors * vectors_of(p.small) * lanes * transposing +
                     sums * (cycles_of_kept + (beside ? cycles_of_copy : 0));
    }
    // Weights that the first-level cache does not hold come anew for each piece.
    const double bytes = cells_of(k) * depth * static_cast<double>(p.big) * static_cast<double>(sizeof(Scalar)),
                 pieces = vectors / static_cast<double>(piece_vectors);
    const double rate = bytes < rates.first_size                     ? unlimited
                        : bytes < share_of_cache * rates.second_size ? rates.second
                        : bytes < rates.third_size                   ? rates.third
                                                                     : rates.memory;
    cost.weights = std::max(pieces * bytes / rate - cost.products, 0.0);
    double terms = 1;
    for (std::size_t axis = kept ? 0 : 2; axis < 3; ++axis)
        terms *= static_cast<double>((k[axis] - 1) / p.strides[axis] + 1);
    const double outputs = output_lines * static_cast<double>(p.output[2] * p.big),
                 apart = p.strides[2] > most_zipped / p.big ? lanes * cycles_of_number : 0;
    cost.steps += outputs / lanes * (cycles_of_term * terms + cycles_of_cells + apart) + output_lines * cycles_of_line;
    return cost;
}

template <typename Scalar>
Cost cost_of_depthwise(const Problem& p, const Kernels<Scalar>& kernels, const Rates& rates) {
    const auto vectors = static_cast<double>(padded(p.groups, kernels.lanes) / kernels.lanes);
    Cost cost;
    cost.products =
        static_cast<double>(p.batch) * cells_of(p.input) * cells_of(p.kernel) * vectors / rates.multiply_adds;
    cost.steps = static_cast<double>(p.batch) * cells_of(p.output) * vectors * cycles_of_channels;
    return cost;
}

double data_cycles(const Problem& p, double size, double computing, const Rates& rates) {
    const double source = static_cast<double>(p.batch * p.groups * p.small) * cells_of(p.input) * size;
    const double results = static_cast<double>(p.batch * p.groups * p.big) * cells_of(p.output) * size;
    const double all = source + results;
    if (all < share_of_cache * rates.second_size) return 0;
    const double rate = all < rates.third_size ? rates.third : rates.memory;
    return std::max(all / rate - computing, source > share_of_cache * rates.third_size ? source / rate : 0);
}

template <typename Scalar>
double convolution_cycles(const Problem& p, const Side& side, const Sweep& sweep, const Terms& terms,
                          const Forms& forms, const Kernels<Scalar>& kernels) {
    using namespace tuning::convolution;
    const auto lanes = static_cast<double>(kernels.lanes),
               vectors = static_cast<double>(padded(side.columns, kernels.lanes)) / lanes;
    const auto depth = static_cast<double>(side.depth);
    if (!forms.tiled()) {
        const double each = merged_taps(p, false) > 1 ? merged_product : product;
        return static_cast<double>(sweep.taps()) * depth * vectors *
               (each * static_cast<double>(sweep.cells() * p.batch) * inside(p, sweep, 0) + packing);
    }
    const Index all = tiles_of(p, sweep, forms);
    const auto planes = static_cast<double>(forms.planes()), count = static_cast<double>(terms.count());
    double products = 0;
    for (const Term& term : terms.all) products += static_cast<double>(products_of(term, forms));
    const double each =
        products * depth * vectors + planes * (of_input * count * depth / lanes + of_products * vectors);
    const double once = transform * planes * count * depth * vectors *
                        static_cast<double>(winograd_blocks_of<Scalar>(p, side, sweep, forms));
    const double of_tile = static_cast<double>(forms.lines.outputs * forms.columns.outputs);
    const double moved = of_tile * (loading * count * depth + storing * static_cast<double>(side.columns));
    return static_cast<double>(padded(all, rows)) * (each + moved) + once;
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                                \
    template Cost cost_of<Scalar>(const Problem&, const Side&, const Sweep&, const Terms&, const Forms&,              \
                                  const Kernels<Scalar>&, const Rates&);                                              \
    template Cost cost_of_overlap<Scalar>(const Problem&, const Kernels<Scalar>&, const Rates&);                      \
    template Cost cost_of_depthwise<Scalar>(const Problem&, const Kernels<Scalar>&, const Rates&);                    \
    template double convolution_cycles<Scalar>(const Problem&, const Side&, const Sweep&, const Terms&, const Forms&, \
                                               const Kernels<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
