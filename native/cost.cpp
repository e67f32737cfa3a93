#include "cost.h"

#include <algorithm>

namespace backstride {
namespace {

// What the inner loops of this library take, in cycles: fitted to 370 measurements of the benchmark's layers.
constexpr double share_of_peak = 0.71;     // of multiply-adds, in the midst of a panel
constexpr double cycles_of_tap = 48;       // of a tile of rows: pointers
constexpr double cycles_of_rows = 20;      // of a tile of rows: sums in and out
constexpr double cycles_of_plane = 140;    // the same for the tile of a plane, whose sums go on
constexpr double cycles_of_block = 3500;   // pointers to cells, meetings with other threads
constexpr double bytes_of_input = 8;       // a cycle of transformed cells, read and written together
constexpr double bytes_of_output = 8;      // and of their products
constexpr double cycles_of_chain = 4;      // of a multiply-add whose sum the next one needs
constexpr double share_of_cache = 0.6;     // that weights keep beside cells
constexpr double piece_of_panel = 320 << 10;  // bytes of weights that all rows of a block pass before the next ones come

// The rows of a tile of so many vectors, as in lanes.inl.
Index rows_of_tile(Index panel_vectors, Index vectors) {
    const Index registers = 8 * panel_vectors;
    return vectors == 1 ? (registers == 32 ? 12 : 8) : (registers - registers / 4) / vectors;
}

constexpr double share_of_lanes = 0.6;     // of multiply-adds where cells stand in the lanes
constexpr double cycles_of_turning = 3;    // of a vector of cells, channel by channel
constexpr double cycles_of_term = 1.5;     // of a vector of products that is added to its cells,
constexpr double cycles_of_cells = 4;      // and of a vector of those
constexpr double cycles_of_channels = 10;  // of a vector of depthwise results

double cells_of(const Axes& size) { return static_cast<double>(size[0]) * static_cast<double>(size[1]) * static_cast<double>(size[2]); }

// Where weights come from, in bytes a cycle.
struct Source {
    double first, again;  // for the first rows that pass, and for the others
};

// `rows` rows against panels of weights, `pieces` times.
class Panels {
public:
    Panels(const Rates& rates, Index panel_vectors, Index columns, double vector_bytes, double tap, double tile)
        : rates_(rates), panel_vectors_(panel_vectors), columns_(columns), vector_bytes_(vector_bytes), tap_(tap), tile_(tile) {}

    void add(Cost& cost, Index rows, double taps, double depth, const Source& source, double times) const {
        const auto full = static_cast<double>(columns_ / panel_vectors_);
        if (full > 0) panel(cost, rows, taps, depth, panel_vectors_, source, times * full);
        if (columns_ % panel_vectors_) panel(cost, rows, taps, depth, columns_ % panel_vectors_, source, times);
    }

private:
    void panel(Cost& cost, Index rows, double taps, double depth, Index vectors, const Source& source, double times) const {
        const Index tall = rows_of_tile(panel_vectors_, vectors), left = rows % tall;
        const Index last = left == 0 ? 0 : vectors == panel_vectors_ && left <= 4 ? (left == 3 ? 4 : left) : tall;
        const double steps = taps * depth;
        bool first = true;
        for (const auto& [height, count] : {std::pair<Index, Index>{tall, rows / tall}, {last, last > 0 ? 1 : 0}}) {
            if (count == 0) continue;
            const auto h = static_cast<double>(height), v = static_cast<double>(vectors), n = static_cast<double>(count);
            const double products = h * v / rates_.multiply_adds / share_of_peak;
            const double bound = std::max({products, (h + v) / rates_.loads, cycles_of_chain});
            const double bytes = v * vector_bytes_, again = std::max(bound, bytes / source.again);
            cost.products += times * n * steps * products;
            cost.steps += times * n * (steps * (bound - products) + taps * tap_ + tile_);
            cost.weights += times * n * steps * (again - bound);
            if (first) cost.weights += times * steps * (std::max(bound, bytes / source.first) - again);
            first = false;
        }
    }

    const Rates& rates_;
    Index panel_vectors_, columns_;
    double vector_bytes_, tap_, tile_;
};

// The share of meetings of outputs and taps that a plain product does not leave out.
double inside(const Problem& p, const Sweep& sweep, Index fewest_rows) {
    double share = 1;
    if (!images_inside(p, sweep) && sweep.cells() * p.batch > fewest_rows) return share;
    for (const Axis& axis : sweep.axes) {
        Index count = 0;
        for (Index q = 0; q < axis.count; ++q)
            for (const Index offset : axis.offsets) count += q * axis.step + offset >= 0 && q * axis.step + offset < axis.extent;
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
    const bool stays = bytes.weights < share_of_cache * rates.second_size && (repeats || bytes.all() < 0.8 * rates.second_size);
    const double first = stays ? rates.second : bytes.weights < rates.third_size ? rates.third : rates.memory;
    return {first, piece < 0.7 * rates.first_size ? 1e9 : rates.second};
}

}  // namespace

Rates nominal_rates(Index vector_bytes) {
    // Two vectors a cycle where there are 512 bits and 256, one where there are 128; 2 MiB of second-level cache with AVX-512.
    Rates rates{2, 1.2, 28, 9, 4, 32 << 10, 1 << 20, 32 << 20};
    if (vector_bytes == 64) rates.second_size = 2 << 20, rates.first_size = 48 << 10;
    return rates;
}

Cost& Cost::operator+=(const Cost& other) {
    products += other.products, steps += other.steps, weights += other.weights, transforms += other.transforms, data += other.data;
    return *this;
}

Cost Cost::operator*(double factor) const { return {products * factor, steps * factor, weights * factor, transforms * factor, data * factor}; }

template <typename Scalar>
Cost cost_of(const Problem& p, const Side& side, const Sweep& sweep, const Terms& terms, const Forms& forms, const Kernels<Scalar>& kernels,
             const Rates& rates) {
    constexpr double size = sizeof(Scalar);
    Cost cost;
    if (sweep.cells() * p.batch == 0) return cost;
    const auto depth = static_cast<double>(side.depth), groups = static_cast<double>(side.groups), lanes = static_cast<double>(kernels.lanes);
    const Index vectors = padded(side.columns, kernels.lanes) / kernels.lanes;
    const double taps = static_cast<double>(sweep.taps()), planes = static_cast<double>(forms.planes());
    const double number = cells_of(p.kernel) * depth / static_cast<double>(side.merged) * static_cast<double>(side.channels) * groups;
    const auto moved = [&](const Axes& cells, Index channels) { return static_cast<double>(p.batch * cells[0] * cells[1] * cells[2] * channels) * size; };
    Bytes bytes{number * size, moved(side.source, side.source_channels), moved(side.target, side.target_channels)};
    if (forms.tiled()) bytes.weights *= planes * static_cast<double>(terms.count()) / taps;
    const double vector_bytes = lanes * size;
    if (!forms.tiled()) {
        const Index rows = sweep.cells() * p.batch, blocks = (rows + block_rows - 1) / block_rows;
        const Panels panels(rates, kernels.panel_vectors, vectors, vector_bytes, cycles_of_tap, cycles_of_rows);
        const double share = inside(p, sweep, rows_of_tile(kernels.panel_vectors, kernels.panel_vectors));
        const double piece = std::min(taps * depth * vector_bytes * static_cast<double>(std::min(vectors, kernels.panel_vectors)), piece_of_panel);
        const Source source = source_of(bytes, piece, blocks > 1, rates);
        if (blocks > 1) panels.add(cost, block_rows, taps, depth, source, groups * static_cast<double>(blocks - 1) * share);
        panels.add(cost, rows - (blocks - 1) * block_rows, taps, depth, source, groups * share);
        cost.steps += groups * static_cast<double>(blocks) * cycles_of_block;
        return cost;
    }
    const Cut cut = cut_of_tiles<Scalar>(p, side, sweep, forms);
    const Index all = tiles_of(p, sweep, forms), blocks = (all + cut.rows - 1) / cut.rows, full = (vectors + kernels.panel_vectors - 1) / kernels.panel_vectors;
    const Index pieces = (side.depth + cut.depth - 1) / cut.depth;
    const bool whole = terms.count() == 1 && pieces == 1;
    const double repeats = whole ? 1 : static_cast<double>((full + panels_at_once - 1) / panels_at_once);
    const Panels panels(rates, kernels.panel_vectors, vectors, vector_bytes, cycles_of_tap, cycles_of_plane);
    double products = 0;
    for (const Term& term : terms.all) products += static_cast<double>(products_of(term, forms));
    const double piece = depth / static_cast<double>(pieces);
    const Source source = source_of(bytes, piece * vector_bytes * static_cast<double>(std::min(vectors, kernels.panel_vectors)), blocks > 1, rates);
    const double times = groups * products * static_cast<double>(pieces);
    if (blocks > 1) panels.add(cost, cut.rows, 1, piece, source, times * static_cast<double>(blocks - 1));
    panels.add(cost, all - (blocks - 1) * cut.rows, 1, piece, source, times);
    const auto rows = static_cast<double>(all) * groups, outputs = static_cast<double>(forms.lines.outputs * forms.columns.outputs);
    const double in = repeats * static_cast<double>(terms.count()) * planes * static_cast<double>(padded(side.depth, kernels.lanes)) * size;
    cost.transforms += rows * (2 * in / bytes_of_input + static_cast<double>(vectors) * vector_bytes * (planes + outputs) / bytes_of_output);
    // Products do not run while transforms wait for what no cache holds.
    const double part = static_cast<double>(sweep.cells()) / (cells_of(side.target) / static_cast<double>(side.columns / side.channels));
    if (bytes.source + bytes.results > rates.third_size) cost.data += (bytes.source + part * bytes.results) / rates.memory;
    cost.steps += groups * static_cast<double>(blocks) * cycles_of_block;
    return cost;
}

template <typename Scalar>
Cost cost_of_overlap(const Problem& p, const Kernels<Scalar>& kernels, const Rates& rates) {
    // Lines are loaded channel by channel, multiplied with all taps, and the products of an output cell's taps are added.
    const auto lanes = static_cast<double>(kernels.lanes);
    const auto lines = static_cast<double>(p.batch * p.input[0] * p.input[1]), vectors = static_cast<double>(padded(p.input[2], kernels.lanes)) / lanes;
    const auto outputs = static_cast<double>(p.batch * p.output[0] * p.output[1] * p.output[2] * p.big);
    double terms = 1;
    for (std::size_t axis = 0; axis < 3; ++axis) terms *= static_cast<double>((p.kernel[axis] - 1) / p.strides[axis] + 1);
    Cost cost;
    cost.products = lines * vectors * static_cast<double>(p.small * p.big) * cells_of(p.kernel) / rates.multiply_adds / share_of_lanes;
    cost.steps = lines * vectors * static_cast<double>(p.small) * cycles_of_turning + outputs / lanes * (cycles_of_term * terms + cycles_of_cells);
    return cost;
}

template <typename Scalar>
Cost cost_of_depthwise(const Problem& p, const Kernels<Scalar>& kernels, const Rates& rates) {
    const auto vectors = static_cast<double>(padded(p.groups, kernels.lanes) / kernels.lanes);
    Cost cost;
    cost.products = static_cast<double>(p.batch) * cells_of(p.input) * cells_of(p.kernel) * vectors / rates.multiply_adds;
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
double convolution_cycles(const Problem& p, const Side& side, const Sweep& sweep, const Terms& terms, const Forms& forms, const Kernels<Scalar>& kernels) {
    constexpr Index rows = 6;  // that are multiplied at once
    constexpr double packing = 20, transform = 8;  // of a vector of weights, from memory
    constexpr double loading = 0.375, storing = 0.5;  // of numbers from and to memory, which a plain product moves meanwhile
    constexpr double of_input = 5, of_products = 8;  // of a vector that is transformed
    const auto lanes = static_cast<double>(kernels.lanes), vectors = static_cast<double>(padded(side.columns, kernels.lanes)) / lanes;
    const auto depth = static_cast<double>(side.depth);
    if (!forms.tiled()) {
        const double each = merged_taps(p, false) > 1 ? 0.88 : 0.95;  // long runs of merged taps cost less
        return static_cast<double>(sweep.taps()) * depth * vectors * (each * static_cast<double>(sweep.cells() * p.batch) * inside(p, sweep, 0) + packing);
    }
    const Index all = tiles_of(p, sweep, forms);
    const auto planes = static_cast<double>(forms.planes()), count = static_cast<double>(terms.count());
    double products = 0;
    for (const Term& term : terms.all) products += static_cast<double>(products_of(term, forms));
    const double each = products * depth * vectors + planes * (of_input * count * depth / lanes + of_products * vectors);
    const double once = transform * planes * count * depth * vectors * static_cast<double>(tile_blocks_of<Scalar>(p, side, sweep, forms));
    const double of_tile = static_cast<double>(forms.lines.outputs * forms.columns.outputs);
    const double moved = of_tile * (loading * count * depth + storing * static_cast<double>(side.columns));
    return static_cast<double>((all + rows - 1) / rows * rows) * (each + moved) + once;
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                                                       \
    template Cost cost_of<Scalar>(const Problem&, const Side&, const Sweep&, const Terms&, const Forms&, const Kernels<Scalar>&, const Rates&); \
    template Cost cost_of_overlap<Scalar>(const Problem&, const Kernels<Scalar>&, const Rates&);                                                \
    template Cost cost_of_depthwise<Scalar>(const Problem&, const Kernels<Scalar>&, const Rates&);                                              \
    template double convolution_cycles<Scalar>(const Problem&, const Side&, const Sweep&, const Terms&, const Forms&, const Kernels<Scalar>&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
