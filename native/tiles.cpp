// A sweep as Winograd tiles: a tile of input cells is transformed into planes, every plane is one matrix product, and
// the products of all planes are transformed into a tile of output cells. Workspace: the planes of one block of tiles.
#include <algorithm>

#include "buffer.h"
#include "pass.h"

namespace backstride {
namespace {

constexpr Index planes_in_cache = 320 * 1024;     // bytes that the transformed input of a block may take,
constexpr Index planes_in_memory = 5 << 19;       // and where the weights are too large to be read again for each block
constexpr Index weights_in_cache = 8 << 20;
constexpr Index fewest_rows = 24, most_rows = 96;

struct Tiling {
    Index lines, columns;  // tiles along the inner axes
    Index per_image;
};

Tiling tiling(const Sweep& sweep, const Forms& forms) {
    const Index lines = (sweep.axes[1].count + forms.lines.outputs - 1) / forms.lines.outputs;
    const Index columns = (sweep.axes[2].count + forms.columns.outputs - 1) / forms.columns.outputs;
    return {lines, columns, sweep.axes[0].count * lines * columns};
}

template <typename Scalar>
Index rows_of(const Side& side, const Forms& forms) {
    const Index each = forms.planes() * side.depth * static_cast<Index>(sizeof(Scalar));
    const Index budget = each * side.columns > weights_in_cache ? planes_in_memory : planes_in_cache;
    return std::clamp(budget / std::max<Index>(1, each) / 24 * 24, fewest_rows, most_rows);
}

// The offset of an input cell from the start of its image, or -1 outside.
Index cell_at(const Side& side, Index i0, Index i1, Index i2) {
    const bool inside = i0 >= 0 && i0 < side.source[0] && i1 >= 0 && i1 < side.source[1] && i2 >= 0 && i2 < side.source[2];
    return inside ? ((i0 * side.source[1] + i1) * side.source[2] + i2) * side.source_channels : -1;
}

}  // namespace

template <typename Scalar>
Index tile_blocks(const Pass<Scalar>& pass, const Sweep& sweep, const Forms& forms) {
    const Index rows = tiling(sweep, forms).per_image * pass.problem.batch, size = rows_of<Scalar>(pass.side, forms);
    return (rows + size - 1) / size;
}

template <typename Scalar>
void run_tiles(const Pass<Scalar>& pass, Index number, Index block, Index group, Index first, Index last) {
    const Sweep& sweep = pass.sweeps[static_cast<std::size_t>(number)];
    const Forms& forms = pass.forms[static_cast<std::size_t>(number)];
    const Side& side = pass.side;
    const Kernels<Scalar>& kernels = pass.kernels;
    const Tiling tiles = tiling(sweep, forms);
    const Index size = rows_of<Scalar>(side, forms), from = block * size;
    const Index rows = std::min(tiles.per_image * pass.problem.batch - from, size);
    const Index planes = forms.planes(), high = forms.lines.planes(), wide = forms.columns.planes();
    const Index outputs = forms.lines.outputs * forms.columns.outputs;
    const Index depth = padded(side.depth, kernels.lanes), width = pass.panel_width();
    // A line apart, so that the planes of a cell do not fall into one set of the cache.
    const Index plane_in = size * depth + 16, plane_out = size * width + 16;
    static thread_local std::vector<const Scalar*> cells, pointers;
    static thread_local std::vector<Scalar*> targets, products;
    static thread_local Scratch<Scalar> transformed_buffer, multiplied_buffer, scratch_buffer, spilled_buffer;
    static thread_local std::vector<Spill<Scalar>> spills;
    const auto sized = [](auto& buffer, Index count) { if (static_cast<Index>(buffer.size()) < count) buffer.resize(static_cast<std::size_t>(count)); };
    sized(cells, rows * planes);
    sized(targets, rows * outputs);
    Scalar* const transformed = transformed_buffer.get(planes * plane_in);
    Scalar* const multiplied = multiplied_buffer.get(planes * plane_out);
    Scalar* const scratch = scratch_buffer.get((size + 16) * width);
    Scalar* const spilled = side.columns > side.channels ? spilled_buffer.get(rows * outputs * pass.stride) : nullptr;
    spills.clear();

    const auto& [outer, lines, columns] = sweep.axes;
    const Index image_size = side.source[0] * side.source[1] * side.source[2] * side.source_channels;
    for (Index row = 0; row < rows; ++row) {
        const Index image = (from + row) / tiles.per_image, tile = (from + row) % tiles.per_image;
        const Index q0 = tile / tiles.columns / tiles.lines;
        const Index q1 = tile / tiles.columns % tiles.lines * forms.lines.outputs;
        const Index q2 = tile % tiles.columns * forms.columns.outputs;
        const Index i0 = q0 * outer.step + outer.offsets.front();
        for (Index a = 0; a < high; ++a)
            for (Index b = 0; b < wide; ++b) {
                const Index at = cell_at(side, i0, q1 + lines.offsets.back() + a, q2 + columns.offsets.back() + b);
                cells[static_cast<std::size_t>((row * high + a) * wide + b)] =
                    at < 0 ? pass.zeros.data() : pass.source + image * image_size + at;
            }
        for (Index a = 0; a < forms.lines.outputs; ++a)
            for (Index b = 0; b < forms.columns.outputs; ++b) {
                const Index cell = (row * forms.lines.outputs + a) * forms.columns.outputs + b;
                const bool inside = q1 + a < lines.count && q2 + b < columns.count;
                targets[static_cast<std::size_t>(cell)] =
                    inside ? pass.aim(image, outer.start + q0 * outer.stride, lines.start + (q1 + a) * lines.stride,
                                      columns.start + (q2 + b) * columns.stride,
                                      spilled ? spilled + cell * pass.stride : nullptr, spills)
                           : nullptr;
            }
    }
    kernels.tile_input({cells.data(), rows, side.depth, group * side.depth, transformed, plane_in, depth,
                        forms.lines, forms.columns});

    pointers.assign(static_cast<std::size_t>(size + 16), transformed + (rows - 1) * depth);
    sized(products, size);
    for (Index row = 0; row < rows; ++row) {
        pointers[static_cast<std::size_t>(row)] = transformed + row * depth;
        products[static_cast<std::size_t>(row)] = multiplied + row * width;
    }
    const Scalar* weights = pass.weights[static_cast<std::size_t>(number)] + group * planes * side.depth * pass.stride;
    for (Index panel = first; panel < last; ++panel) {
        const Index column = panel * width, used = std::min(width, pass.stride - column);
        for (Index plane = 0; plane < planes; ++plane)
            kernels.gather({pointers.data(), 0, rows, 1, side.depth, plane * plane_in, plane * plane_out - column,
                            nullptr, products.data(), weights + plane * side.depth * pass.stride, nullptr, column + used, panel,
                            panel + 1, Activation::none, scratch});
        kernels.tile_output({multiplied, plane_out, width, rows, targets.data(), group * side.channels,
                             pass.bias_of(group), column, side.columns, pass.activation, forms.lines, forms.columns, pass.bypasses});
    }
    for (const Spill<Scalar>& spill : spills) pass.scatter(spill, first * width, last * width);
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                   \
    template Index tile_blocks<Scalar>(const Pass<Scalar>&, const Sweep&, const Forms&); \
    template void run_tiles<Scalar>(const Pass<Scalar>&, Index, Index, Index, Index, Index);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
