// Weights are packed as [sweep][tile of 16 columns][taps of outer axes][taps run by run][pair of
// channels][16][2]; a box of source cells is [residues of the step][image][cells][channels],
// padded. A row of a product is a cell of the box; rows between two lines of outputs are computed
// and not stored.
#include "matrices.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "boxes.h"
#include "buffer.h"
#include "threads.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::matrices;
using tuning::boxes::cells_at_once;
using tuning::processor::line_bytes;

namespace {

constexpr Index numbers_of_piece = 32;  // that a product takes at once, at most

// Taps of the innermost axis whose cells follow each other, by rising inputs.
struct TapRun {
    Index offset;
    std::vector<Index> taps;
};

std::vector<TapRun> runs_of(const Axis& axis, bool joins) {
    std::vector<std::size_t> order(axis.taps.size());
    for (std::size_t n = 0; n < order.size(); ++n) order[n] = n;
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return axis.offsets[a] < axis.offsets[b]; });
    std::vector<TapRun> runs;
    for (const std::size_t n : order) {
        const auto own = std::find_if(runs.begin(), runs.end(), [&](const TapRun& run) {
            return joins && run.offset + static_cast<Index>(run.taps.size()) * axis.step == axis.offsets[n];
        });
        if (own == runs.end()) runs.push_back({.offset = axis.offsets[n], .taps = {axis.taps[n]}});
        else own->taps.push_back(axis.taps[n]);
    }
    return runs;
}

// One axis of the cells that all sweeps read, those of a residue of the step after each other: output q reads the
// inputs q*step + offset.
struct SourceAxis {
    Index step, low, high, count, extent;  // offsets over the step; outputs of the longest sweep; cells of the source
    std::vector<Index> residues;

    SourceAxis(const std::vector<Sweep>& sweeps, std::size_t axis)
        : step(sweeps.front().axes[axis].step), low(0), high(0), count(0), extent(sweeps.front().axes[axis].extent) {
        bool first = true;
        for (const Sweep& sweep : sweeps) {
            count = std::max(count, sweep.axes[axis].count);
            for (const Index offset : sweep.axes[axis].offsets) {
                const Index over = floor_div(offset, step), residue = offset - over * step;
                low = first ? over : std::min(low, over);
                high = first ? over : std::max(high, over);
                first = false;
                if (std::find(residues.begin(), residues.end(), residue) == residues.end()) residues.push_back(residue);
            }
        }
        std::sort(residues.begin(), residues.end());
    }

    Index cells(Index outputs) const { return outputs + high - low; }
    Index residue_at(Index offset) const {
        const Index residue = offset - floor_div(offset, step) * step;
        return std::find(residues.begin(), residues.end(), residue) - residues.begin();
    }
};

// Some outputs of every sweep, more than the borders that neighbours share, and the source cells that they read, with
// zeros around: (*residues, images, *cells, padded).
struct Box {
    Index image, images;
    Axes from, count, cells;
    Index residue;  // numbers of the cells of one residue
};

class Boxes {
public:
    Boxes(const std::array<SourceAxis, 3>& reaches, Index batch, Index pitch, Index results)
        : reaches_(reaches), batch_(batch), pitch_(pitch), results_(results) {
        for (std::size_t axis = 0; axis < 3; ++axis) each_[axis] = std::max<Index>(reaches[axis].count, 1);
        for (std::size_t axis = 0; axis < 3; ++axis)
            while (too_large() &&
                   each_[axis] > std::max<Index>(axis == 2 ? matrix_rows : 1, reaches[axis].high - reaches[axis].low))
                each_[axis] = ceil_div(each_[axis], 2);
        while (images_ < batch && !too_large()) ++images_;
        if (too_large() && images_ > 1) --images_;
        for (std::size_t axis = 0; axis < 3; ++axis) counts_[axis] = ceil_div(reaches[axis].count, each_[axis]);
    }

    Index count() const { return ceil_div(batch_, images_) * backstride::cells(counts_); }

    Box operator[](Index number) const {
        Box box;
        for (std::size_t axis = 3; axis-- > 0; number /= counts_[axis]) {
            box.from[axis] = number % counts_[axis] * each_[axis];
            box.count[axis] = std::min(each_[axis], reaches_[axis].count - box.from[axis]);
            box.cells[axis] = reaches_[axis].cells(box.count[axis]);
        }
        box.image = number * images_, box.images = std::min(images_, batch_ - box.image);
        box.residue = box.images * backstride::cells(box.cells) * pitch_;
        return box;
    }

private:
    bool too_large() const {
        Index source = images_ * 2 * pitch_;
        for (std::size_t axis = 0; axis < 3; ++axis)
            source *= reaches_[axis].cells(each_[axis]) * static_cast<Index>(reaches_[axis].residues.size());
        return source > sources_of_box || images_ * backstride::cells(each_) * results_ > results_of_box;
    }

    const std::array<SourceAxis, 3>& reaches_;
    Index batch_, pitch_, results_, images_ = 1;  // bytes of the results of one output of every sweep
    Axes each_, counts_;
};

// `count` cells of a view, `step` of its cells apart, their channels beside each other and zeros behind them.
void copy_cells(const Kernels<float>& kernels, const View<const Half>& view, Index channels, const Half* from,
                Index step, Index count, Half* to, Index pitch) {
    const Index apart = step * view.cell;
    if (view.channel == 1) {
        if (apart == channels && channels == pitch) {
            std::memcpy(to, from, static_cast<std::size_t>(count * channels) * 2);
            return;
        }
        for (Index n = 0; n < count; ++n, from += apart, to += pitch) {
            std::memcpy(to, from, static_cast<std::size_t>(channels) * 2);
            std::fill(to + channels, to + pitch, Half(0));
        }
        return;
    }
    // Pairs of channels of some cells, transposed as if each were one number.
    static thread_local Scratch<float> lines;
    const Index pairs = ceil_div(channels, 2);
    for (Index n = 0; n < count; n += cells_at_once, to += cells_at_once * pitch) {
        const Index some = std::min(cells_at_once, count - n);
        float* const laid = lines.get(pairs * cells_at_once);
        for (Index c = 0; c < pairs; ++c) {
            const Half* one = from + n * apart + 2 * c * view.channel;
            const Half* two = one + view.channel;
            const bool odd = 2 * c + 1 == channels;
            for (Index m = 0; m < some; ++m) {
                const unsigned both = one[m * apart] | (odd ? 0u : static_cast<unsigned>(two[m * apart]) << 16);
                std::memcpy(laid + c * some + m, &both, sizeof both);
            }
        }
        kernels.transpose({
            .from = laid,
            .step = some,
            .rows = pairs,
            .columns = some,
            .to = reinterpret_cast<float*>(to),
            .pitch = pitch / 2,
        });
        for (Index m = 0; m < some; ++m) std::fill(to + m * pitch + 2 * pairs, to + (m + 1) * pitch, Half(0));
    }
}

void fill_box(const Kernels<float>& kernels, const std::array<SourceAxis, 3>& reaches, const Box& box,
              const View<const Half>& source, Index channels, Index pitch, Half* to) {
    const auto& [planes, lines, columns] = reaches;
    const Index wide = box.cells[2];
    const auto input = [&](std::size_t axis, Index residue, Index n) {
        return (box.from[axis] + reaches[axis].low + n) * reaches[axis].step + residue;
    };
    const auto inside = [](Index n, const SourceAxis& reach) { return n >= 0 && n < reach.extent; };
    for (const Index r0 : planes.residues)
        for (const Index r1 : lines.residues)
            for (const Index r2 : columns.residues) {
                const Index first = input(2, r2, 0);
                const Index low = std::clamp<Index>(first < 0 ? ceil_div(-first, columns.step) : 0, 0, wide);
                const Index high = first < columns.extent
                                       ? std::clamp<Index>((columns.extent - 1 - first) / columns.step + 1, low, wide)
                                       : low;
                for (Index image = box.image; image < box.image + box.images; ++image)
                    for (Index n0 = 0; n0 < box.cells[0]; ++n0)
                        for (Index n1 = 0; n1 < box.cells[1]; ++n1, to += wide * pitch) {
                            const Index i0 = input(0, r0, n0), i1 = input(1, r1, n1);
                            if (!inside(i0, planes) || !inside(i1, lines)) {
                                std::fill_n(to, wide * pitch, Half(0));
                                continue;
                            }
                            std::fill_n(to, low * pitch, Half(0));
                            copy_cells(kernels, source, channels, source.at(image, i0, i1, first + low * columns.step),
                                       columns.step, high - low, to + low * pitch, pitch);
                            std::fill_n(to + high * pitch, (wide - high) * pitch, Half(0));
                        }
            }
}

// Rows of a box are its cells one after the other, between lines those that are no outputs of the sweep: each tile
// begins at the first output that has none.
struct Rows {
    std::vector<Index> places;
    std::vector<void*> targets;

    // `target` is where the first cell of a line of outputs goes; the others follow `step` bytes apart.
    template <typename Target>
    void cut(const Box& box, const Axes& count, Index pitch, Index step, const Target& target) {
        const Index lines = box.images * count[0] * count[1];
        places.clear(), targets.assign(static_cast<std::size_t>(lines * padded(count[2], matrix_rows)), nullptr);
        void** to = targets.data() - matrix_rows;
        Index end = 0;
        for (Index line = 0; line < lines; ++line) {
            const Index q1 = line % count[1], q0 = line / count[1] % count[0], n = line / count[1] / count[0];
            Index row = ((n * box.cells[0] + q0) * box.cells[1] + q1) * box.cells[2];
            char* at = static_cast<char*>(target(n, q0, q1));
            for (const Index last = row + count[2]; row < last;) {
                if (row >= end) {
                    places.push_back(row * pitch);
                    to += matrix_rows;
                    end = row + matrix_rows;
                }
                for (const Index stop = std::min(end, last); row < stop; ++row, at += step)
                    to[row - end + matrix_rows] = at;
            }
        }
    }
};

}  // namespace

MatrixWeights::MatrixWeights(const Problem& problem, bool transpose)
    : kernel_(problem), transpose_(transpose), inputs_(transpose ? problem.small : problem.big),
      columns_(transpose ? problem.big : problem.small) {
    // The least zeros behind the channels with which all runs of taps consist of whole products.
    const std::vector<Sweep> all = sweeps(problem, transpose, {1, 1, 1}, 1);
    double best = 1e300;
    for (Index channels = padded(inputs_, 2); channels <= padded(inputs_, numbers_of_piece); channels += 2)
        for (Index depth = 2; depth <= numbers_of_piece; depth += 2) {
            bool fits = true;
            double products = 0;
            for (const Sweep& sweep : all)
                for (const TapRun& run : runs_of(sweep.axes[2], inputs_ <= most_channels_of_run)) {
                    const Index numbers = channels * static_cast<Index>(run.taps.size());
                    fits = fits && numbers % depth == 0;
                    products += static_cast<double>(numbers / depth) * static_cast<double>(sweep.taps()) /
                                static_cast<double>(sweep.axes[2].taps.size());
                }
            if (fits && products < best) best = products, padded_ = channels, depth_ = depth;
        }
    for (const Sweep& sweep : all) size_ += sweep.taps() * padded_ * padded(columns_, matrix_rows);
}

void MatrixWeights::pack(const Kernels<float>& kernels, const float* w, Half* to) const {
    const std::vector<Sweep> all = sweeps(kernel_, transpose_, {1, 1, 1}, 1);
    const Index tiles = padded(columns_, matrix_rows) / matrix_rows, inputs = kernel_.small;
    std::vector<Half*> starts;
    for (const Sweep& sweep : all) {
        starts.push_back(to);
        to += sweep.taps() * padded_ * tiles * matrix_rows;
    }
    parallel(static_cast<Index>(all.size()) * tiles, [&](Index task) {
        const Sweep& sweep = all[static_cast<std::size_t>(task / tiles)];
        const Index first = task % tiles * matrix_rows, count = std::min(matrix_rows, columns_ - first);
        std::vector<float> row(static_cast<std::size_t>(padded_ * matrix_rows));
        std::vector<Half> rounded(row.size());
        Half* at = starts[static_cast<std::size_t>(task / tiles)] + first * sweep.taps() * padded_;
        for (const Index t0 : sweep.axes[0].taps)
            for (const Index t1 : sweep.axes[1].taps)
                for (const TapRun& run : runs_of(sweep.axes[2], inputs_ <= most_channels_of_run))
                    for (const Index t2 : run.taps) {
                        const float* from =
                            w + ((t0 * kernel_.kernel[1] + t1) * kernel_.kernel[2] + t2) * kernel_.big * inputs;
                        std::fill(row.begin(), row.end(), 0.0f);
                        if (transpose_)
                            kernels.transpose({
                                .from = from + first * inputs,
                                .step = inputs,
                                .rows = count,
                                .columns = inputs_,
                                .to = row.data(),
                                .pitch = matrix_rows,
                            });
                        else
                            for (Index c = 0; c < inputs_; ++c)
                                std::copy_n(from + c * inputs + first, count, row.data() + c * matrix_rows);
                        kernels.narrow(row.data(), padded_ * matrix_rows, rounded.data(), Storage::bfloat16);
                        // Pairs of channels beside each other.
                        for (Index c = 0; c < padded_; c += 2, at += 2 * matrix_rows)
                            for (Index n = 0; n < matrix_rows; ++n)
                                for (Index k = 0; k < 2; ++k)
                                    at[2 * n + k] = rounded[static_cast<std::size_t>((c + k) * matrix_rows + n)];
                    }
    });
}

void MatrixWeights::run(const Problem& p, const Kernels<float>& kernels, MultiplyMatrices multiply, const Half* packed,
                        const View<const Half>& source, const Epilogue<float>& epilogue,
                        const View<Half>& target) const {
    const std::vector<Sweep> all = sweeps(p, transpose_, {1, 1, 1}, 1);
    const bool joins = inputs_ <= most_channels_of_run;
    const std::array<SourceAxis, 3> reaches{SourceAxis(all, 0), SourceAxis(all, 1), SourceAxis(all, 2)};
    const Index pitch = joins || padded_ * 2 % page_of_cells ? padded_ : padded_ + line_bytes / 2;
    const Index tiles = padded(columns_, matrix_rows) / matrix_rows;
    const Index results = size_ * 2 > few_weights ? 0 : static_cast<Index>(all.size()) * columns_ * 2;
    const Boxes boxes(reaches, p.batch, pitch, results);
    std::vector<float> bias;
    if (epilogue.bias) {
        bias.assign(epilogue.bias, epilogue.bias + columns_);
        bias.resize(static_cast<std::size_t>(tiles * matrix_rows), 0.0f);
    }
    const bool wide = target.channel != 1 && columns_ > 1;
    const Axes size = transpose_ ? p.output : p.input;
    const Index threads = get_num_threads(),
                wanted = threads == 1 ? 1 : tuning::run::tasks_of_thread * threads / std::max<Index>(boxes.count(), 1);
    const Index parts = std::clamp<Index>(wanted, 1, wide ? 1 : ceil_div(tiles, 2)),
                each = ceil_div(ceil_div(tiles, 2), parts) * 2;
    parallel(boxes.count() * parts, [&](Index task) {
        static thread_local Scratch<Half> cells_of_box;
        static thread_local Scratch<float> results;
        static thread_local Rows kept_rows;
        static thread_local std::vector<Index> kept_shifts;
        Rows& rows = kept_rows;
        std::vector<Index>& shifts = kept_shifts;
        const Box box = boxes[task / parts];
        const Index first = task % parts * each, last = std::min(tiles, first + each);
        if (first >= last) return;
        Index residues = 1;
        for (const SourceAxis& reach : reaches) residues *= static_cast<Index>(reach.residues.size());
        // Rows of the last tile may reach behind the last cell.
        Half* const in = cells_of_box.get(residues * box.residue + matrix_rows * pitch);
        fill_box(kernels, reaches, box, source, inputs_, pitch, in);
        std::array<Axes, 2> region;  // of the target
        for (std::size_t axis = 0; axis < 3; ++axis) {
            const Index stride = all.front().axes[axis].stride;
            region[0][axis] = std::min(box.from[axis] * stride, size[axis]);
            region[1][axis] = std::min((box.from[axis] + box.count[axis]) * stride, size[axis]);
        }
        const Axes box_size{region[1][0] - region[0][0], region[1][1] - region[0][1], region[1][2] - region[0][2]};
        const View<float> beside =
            dense(wide ? results.get(box.images * cells(box_size) * columns_) : nullptr, box_size, columns_);
        const Half* weights = packed;
        for (const Sweep& sweep : all) {
            const auto& axes = sweep.axes;
            Axes count;
            for (std::size_t axis = 0; axis < 3; ++axis)
                count[axis] = std::clamp<Index>(axes[axis].count - box.from[axis], 0, box.count[axis]);
            const Index step = axes[2].stride * (wide ? columns_ * static_cast<Index>(sizeof(float))
                                                      : target.cell * static_cast<Index>(sizeof(Half)));
            rows.cut(box, count, pitch, step, [&](Index image, Index q0, Index q1) -> void* {
                const auto at = [&](std::size_t axis, Index q) {
                    return axes[axis].start + (box.from[axis] + q) * axes[axis].stride;
                };
                const Index t0 = at(0, q0), t1 = at(1, q1), t2 = at(2, 0);
                if (wide) return beside.at(image, t0 - region[0][0], t1 - region[0][1], t2 - region[0][2]);
                return target.at(box.image + image, t0, t1, t2);
            });
            shifts.clear();
            for (const Index o0 : axes[0].offsets)
                for (const Index o1 : axes[1].offsets)
                    for (const TapRun& run : runs_of(axes[2], joins)) {
                        const std::array<Index, 3> offset{o0, o1, run.offset};
                        Index residue = 0, cell = 0;
                        for (std::size_t axis = 0; axis < 3; ++axis) {
                            residue = residue * static_cast<Index>(reaches[axis].residues.size()) +
                                      reaches[axis].residue_at(offset[axis]);
                            cell = cell * box.cells[axis] + floor_div(offset[axis], reaches[axis].step) -
                                   reaches[axis].low;
                        }
                        for (Index n = 0; n < static_cast<Index>(run.taps.size()) * padded_; n += depth_)
                            shifts.push_back(residue * box.residue + cell * pitch + n);
                    }
            const auto pieces = static_cast<Index>(shifts.size()),
                       count_of_tiles = static_cast<Index>(rows.places.size());
            if (count_of_tiles > 0) {
                multiply({
                    .source = in,
                    .places = rows.places.data(),
                    .tiles = count_of_tiles,
                    .step = pitch,
                    .shifts = shifts.data(),
                    .pieces = pieces,
                    .depth = depth_,
                    .weights = weights,
                    .targets = rows.targets.data(),
                    .wide = wide,
                    .bias = bias.empty() ? nullptr : bias.data(),
                    .columns = columns_,
                    .first = first,
                    .last = last,
                    .activation = epilogue.activation,
                });
            }
            weights += pieces * depth_ * tiles * matrix_rows;
        }
        if (wide)
            store_box(kernels, target, box.image, box.images, region[0], region[1], columns_, beside.data,
                      Storage::bfloat16);
    });
}

}  // namespace backstride
