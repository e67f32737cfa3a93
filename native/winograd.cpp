// A sweep as Winograd tiles: a tile of input cells is transformed into planes,
// [plane][tile][channel], every plane is one matrix product, [panel][plane][tile][column], and the
// products of all planes are transformed into a tile of output cells. Where a sweep has several
// terms (phases of a strided convolution, taps of the outermost axis), a plane sums the products of
// all. Weights are [term][plane][panel][depth][column], or are transformed on the fly for each
// block. Workspace of a thread: the planes of one block, tuning::tiles.
#include <algorithm>

#include "buffer.h"
#include "cost.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::tiles;

namespace {

struct TileGrid {
    Index lines, columns;  // tiles along the inner axes
    Index per_image;
};

TileGrid grid_of(const Sweep& sweep, const Forms& forms) {
    const Index lines = ceil_div(sweep.axes[1].count, forms.lines.outputs);
    const Index columns = ceil_div(sweep.axes[2].count, forms.columns.outputs);
    return {.lines = lines, .columns = columns, .per_image = sweep.axes[0].count * lines * columns};
}

}  // namespace

Index tiles_of(const Problem& p, const Sweep& sweep, const Forms& forms) {
    return grid_of(sweep, forms).per_image * p.batch;
}

template <typename Scalar>
Cut cut_of_tiles(const Problem& p, const Side& side, const Sweep& sweep, const Forms& forms) {
    constexpr auto size = static_cast<Index>(sizeof(Scalar));
    const Index all = tiles_of(p, sweep, forms);
    if (side.transforms_on_the_fly) {
        const Index depth =
            std::max(piece_in_cache / (forms.planes() * piece_columns * size) / depth_step * depth_step, depth_step);
        const Index most = std::clamp(many_rows / forms.planes() / row_step * row_step, most_rows, most_rows_of_piece);
        const Index blocks = std::max<Index>(ceil_div(all, most), 1), rows = ceil_div(all, blocks);
        return {.rows = std::max(padded(rows, row_step), row_step), .depth = std::min(side.depth, depth)};
    }
    const Index each = forms.planes() * size, terms = Terms(sweep, most_tile_taps).count();
    const bool many = each * terms * side.depth * side.columns > weights_in_cache;
    if (many) {  // weights are read once for as many rows as there can be
        const Index blocks = std::max<Index>(ceil_div(all, most_rows), 1), rows = ceil_div(all, blocks);
        const Index depth = planes_of_piece / (each * most_rows) / depth_step * depth_step;
        return {.rows = std::max(padded(rows, row_step), row_step), .depth = std::min(side.depth, depth)};
    }
    const Index depth = std::min(side.depth, planes_in_memory / (each * fewest_rows) / depth_step * depth_step);
    const Index fitting = planes_in_cache / std::max<Index>(1, each * depth) / even_step * even_step;
    return {.rows = std::clamp(fitting, fewest_rows, most_rows), .depth = depth};
}

namespace {

// The offset of an input cell from the start of its image, or -1 outside.
Index cell_at(const Side& side, Index i0, Index i1, Index i2) {
    const bool inside =
        i0 >= 0 && i0 < side.source[0] && i1 >= 0 && i1 < side.source[1] && i2 >= 0 && i2 < side.source[2];
    return inside ? ((i0 * side.source[1] + i1) * side.source[2] + i2) * side.source_channels : -1;
}

}  // namespace

template <typename Scalar>
Index winograd_blocks_of(const Problem& p, const Side& side, const Sweep& sweep, const Forms& forms) {
    const Index rows = tiles_of(p, sweep, forms), size = cut_of_tiles<Scalar>(p, side, sweep, forms).rows;
    return ceil_div(rows, size);
}

template <typename Scalar>
Index winograd_blocks(const DenseCall<Scalar>& call, const Sweep& sweep, const Forms& forms) {
    return winograd_blocks_of<Scalar>(call.problem, call.side, sweep, forms);
}

template <typename Scalar>
void run_winograd(const DenseCall<Scalar>& call, const BlockTask& task) {
    const Index number = task.sweep, group = task.group, first = task.first_panel, last = task.last_panel;
    const Sweep& sweep = call.sweeps[static_cast<std::size_t>(number)];
    const Forms& forms = call.forms[static_cast<std::size_t>(number)];
    const Terms terms(sweep, most_tile_taps);
    const Side& side = call.side;
    const Problem& p = call.problem;
    const Kernels<Scalar>& kernels = call.kernels;
    const TileGrid tiles = grid_of(sweep, forms);
    const Cut cut = cut_of_tiles<Scalar>(p, side, sweep, forms);
    const Index size = cut.rows, most_depth = cut.depth;
    const Index from = task.block * size, rows = std::min(tiles.per_image * p.batch - from, size);
    const Index planes = forms.planes(), high = forms.lines.planes(), wide = forms.columns.planes();
    const Index outputs = forms.lines.outputs * forms.columns.outputs;
    const Index pitch = padded(most_depth, kernels.lanes), width = call.panel_width();
    const bool whole =
        terms.count() == 1 && most_depth == side.depth && !side.transforms_on_the_fly;  // one piece serves all panels
    const Index together = whole ? 1 : std::min(panels_at_once, last - first);
    const Index plane_in = size * pitch + plane_gap, plane_out = (size + rows_beyond) * width + plane_gap;
    static thread_local std::vector<const Scalar*> cells, pointers;
    static thread_local std::vector<Scalar*> targets;
    static thread_local Scratch<Scalar> transformed_buffer, laid_buffer, weights_buffer, multiplied_buffer,
        spilled_buffer;
    static thread_local std::vector<Spill<Scalar>> spills;
    const auto sized = [](auto& buffer, Index count) {
        if (static_cast<Index>(buffer.size()) < count) buffer.resize(static_cast<std::size_t>(count));
    };
    sized(cells, rows * planes);
    sized(targets, rows * outputs);
    Scalar* const transformed = transformed_buffer.get(planes * plane_in);
    Scalar* const multiplied = multiplied_buffer.get(together * planes * plane_out);
    Scalar* const laid = side.transforms_on_the_fly && side.transpose
                             ? laid_buffer.get(forms.lines.taps * forms.columns.taps * most_depth * width)
                             : nullptr;
    Scalar* const transformed_weights =
        side.transforms_on_the_fly ? weights_buffer.get(planes * (most_depth * width + plane_gap)) : nullptr;
    Scalar* const spilled = side.columns > side.channels ? spilled_buffer.get(rows * outputs * call.stride) : nullptr;
    spills.clear();

    const auto& [outer, lines, columns] = sweep.axes;
    const Index image_size = side.source[0] * side.source[1] * side.source[2] * side.source_channels;
    const auto for_each_tile = [&](const auto& visit) {
        for (Index row = 0; row < rows; ++row) {
            const Index image = (from + row) / tiles.per_image, tile = (from + row) % tiles.per_image;
            visit(row, image, tile / tiles.columns / tiles.lines,
                  tile / tiles.columns % tiles.lines * forms.lines.outputs,
                  tile % tiles.columns * forms.columns.outputs);
        }
    };
    const auto point_cells = [&](const Term& term) {
        for_each_tile([&](Index row, Index image, Index q0, Index q1, Index q2) {
            const Index i0 = q0 * outer.step + term.offset;
            for (Index a = 0; a < high; ++a)
                for (Index b = 0; b < wide; ++b) {
                    const Index at = cell_at(side, i0, (q1 + a) * lines.step + term.lines->offset,
                                             (q2 + b) * columns.step + term.columns->offset);
                    cells[static_cast<std::size_t>((row * high + a) * wide + b)] =
                        at < 0 ? call.zeros.data() : call.source + image * image_size + at;
                }
        });
    };
    for_each_tile([&](Index row, Index image, Index q0, Index q1, Index q2) {
        for (Index a = 0; a < forms.lines.outputs; ++a)
            for (Index b = 0; b < forms.columns.outputs; ++b) {
                const Index cell = (row * forms.lines.outputs + a) * forms.columns.outputs + b;
                const bool inside = q1 + a < lines.count && q2 + b < columns.count;
                targets[static_cast<std::size_t>(cell)] =
                    inside ? call.aim(image, outer.start + q0 * outer.stride, lines.start + (q1 + a) * lines.stride,
                                      columns.start + (q2 + b) * columns.stride,
                                      spilled ? spilled + cell * call.stride : nullptr, spills)
                           : nullptr;
            }
    });
    pointers.assign(static_cast<std::size_t>(size + rows_beyond), transformed + (rows - 1) * pitch);
    for (Index row = 0; row < rows; ++row) pointers[static_cast<std::size_t>(row)] = transformed + row * pitch;

    const auto place = [&](Index term, Index start, Index panel) {  // of the weights of its first plane
        const Index column = panel * width, used = std::min(width, call.stride - column);
        const Index terms_before = group * terms.count() + term;
        return call.weights[static_cast<std::size_t>(number)] + terms_before * planes * side.depth * call.stride +
               column * side.depth + start * used;
    };
    for (Index panel = first; panel < last; panel += together) {
        const Index end = std::min(panel + together, last);
        for (Index n = 0; n < terms.count(); ++n) {
            const Term& term = terms.all[static_cast<std::size_t>(n)];
            for (Index start = 0; start < side.depth; start += most_depth) {
                const Index depth = std::min(most_depth, side.depth - start);
                const bool begins = n == 0 && start == 0;
                if (!whole || panel == first) {
                    if (start == 0) point_cells(term);
                    kernels.winograd_input({
                        .cells = cells.data(),
                        .tiles = rows,
                        .depth = depth,
                        .source_offset = group * side.depth + start,
                        .planes = transformed,
                        .plane_stride = plane_in,
                        .tile_stride = pitch,
                        .line_form = forms.lines,
                        .column_form = forms.columns,
                    });
                }
                for (Index at = panel; at < end; ++at) {
                    const Index column = at * width, used = std::min(width, call.stride - column);
                    const Scalar *weights = transformed_weights, *behind = nullptr;  // behind those of all planes
                    Index plane_weights = most_depth * width + plane_gap;
                    if (side.transforms_on_the_fly) {
                        const Patch patch{
                            .group = group, .column = column, .width = used, .from = start, .depth = depth};
                        transform_weights(p, side, term, forms, kernels, call.kernel, patch, laid, transformed_weights,
                                          plane_weights);
                    } else {
                        plane_weights = side.depth * call.stride;
                        weights = place(n, start, at);
                        if (call.prefetches_weights)
                            behind = at + 1 < end                 ? place(n, start, at + 1)
                                     : start + depth < side.depth ? place(n, start + depth, panel)
                                     : n + 1 < terms.count()      ? place(n + 1, 0, panel)
                                     : end < last                 ? place(0, 0, end)
                                                                  : call.weights_after(number);
                    }
                    for (Index plane = 0; plane < planes; ++plane) {
                        if (plane / wide >= planes_of(*term.lines, forms.lines) ||
                            plane % wide >= planes_of(*term.columns, forms.columns))
                            continue;
                        const Scalar* next_weights =
                            behind && plane + 1 < planes ? weights + (plane + 1) * plane_weights : behind;
                        kernels.multiply_rows({
                            .rows = pointers.data(),
                            .row_count = rows,
                            .taps = 1,
                            .depth = depth,
                            .source_offset = plane * plane_in,
                            .weights = weights + plane * plane_weights,
                            .columns = used,
                            .last_panel = 1,
                            .scratch = multiplied + ((at - panel) * planes + plane) * plane_out,
                            .begins = begins,
                            .ends = false,
                            .next_weights = next_weights,
                        });
                    }
                }
            }
        }
        for (Index at = panel; at < end; ++at) {
            const Index column = at * width;
            kernels.winograd_output({
                .planes = multiplied + (at - panel) * planes * plane_out,
                .plane_stride = plane_out,
                .tile_stride = std::min(width, call.stride - column),
                .tiles = rows,
                .targets = targets.data(),
                .target_offset = group * side.channels,
                .bias = call.bias_of(group),
                .column = column,
                .columns = side.columns,
                .activation = call.activation,
                .line_form = forms.lines,
                .column_form = forms.columns,
                .bypasses = call.bypasses,
            });
        }
    }
    for (const Spill<Scalar>& spill : spills) call.scatter(spill, first * width, last * width);
}

#define BACKSTRIDE_INSTANTIATE(Scalar)                                                                  \
    template Cut cut_of_tiles<Scalar>(const Problem&, const Side&, const Sweep&, const Forms&);         \
    template Index winograd_blocks_of<Scalar>(const Problem&, const Side&, const Sweep&, const Forms&); \
    template Index winograd_blocks<Scalar>(const DenseCall<Scalar>&, const Sweep&, const Forms&);       \
    template void run_winograd<Scalar>(const DenseCall<Scalar>&, const BlockTask&);
BACKSTRIDE_INSTANTIATE(float)
BACKSTRIDE_INSTANTIATE(double)
#undef BACKSTRIDE_INSTANTIATE

}  // namespace backstride
