// The kernel gradient as a matrix product of gathered cells. Rows are taps and channels of the
// large side, columns channels of the small side; both sides of a block of cells are copied into
// the order in which products read them, [tile of rows][cell][row] and [panel][cell][column]: lines
// of an array lie whole pages apart, which the first-level cache and the prefetcher bear badly.
//
// Taps that meet a cell outside of the output meet zeros; whether NaN or infinity met one is told.
// The same bits for any number of threads. Workspace of a thread: one block, under 1 MiB.
#include "correlate.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

#include "buffer.h"
#include "sweep.h"
#include "threads.h"
#include "tuning.h"
#include "view.h"

namespace backstride {

using namespace tuning::gathered;
using tuning::gradient::least_round;

namespace {

constexpr Index band_rows = tiles_of_band * height;

// to[n*height + c] = from[n*step + c] for c < Count.
template <typename Scalar, Index Count>
void copy(const Scalar* from, Index step, Index cells, Scalar* to) {
    for (Index n = 0; n < cells; ++n, from += step, to += height) {
        __builtin_prefetch(from + ahead * step, 0);
        std::memcpy(to, from, static_cast<std::size_t>(Count) * sizeof(Scalar));
    }
}

template <typename Scalar, Index Count = height>
void copy_cells(Index count, const Scalar* from, Index step, Index cells, Scalar* to) {
    if constexpr (Count > 0) {
        if (count == Count) copy<Scalar, Count>(from, step, cells, to);
        else copy_cells<Scalar, Count - 1>(count, from, step, cells, to);
    }
}

// The same for all tiles of a band.
template <typename Scalar>
void copy_band(const Scalar* from, Index step, Index cells, Index tile, Scalar* to) {
    constexpr Index line = tuning::processor::line_bytes / static_cast<Index>(sizeof(Scalar));
    for (Index n = 0; n < cells; ++n, from += step, to += height) {
        for (Index c = 0; c < band_rows; c += line) __builtin_prefetch(from + ahead * step + c, 0);
        for (Index t = 0; t < tiles_of_band; ++t)
            std::memcpy(to + t * tile, from + t * height, static_cast<std::size_t>(height) * sizeof(Scalar));
    }
}

// Rows of the kernel beside each other whose numbers lie together in the large side: from number `within` of the cell
// m2*stride + shift of a line on.
struct Segment {
    Index t0, t1, shift, within, count;
};

template <typename Scalar>
class Gathered {
public:
    Gathered(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w, bool adds)
        : p_(p), kernels_(kernels), x_(x), y_(y), w_(w), adds_(adds), inputs_(p.groups * p.small),
          outputs_(p.groups * p.big), axes_{whole(p, 0), whole(p, 1), whole(p, 2)},
          merged_(p.groups == 1 && p.dilation[2] == 1), rows_(cells(p.kernel) * p.big),
          cells_(p.batch * cells(p.input)), panel_(kernels.panel_vectors * kernels.lanes) {
        const Index parts = ceil_div(p.small, panels_of_part * panel_);
        part_ = padded(ceil_div(p.small, parts), panel_);
        const Index width = std::min(part_, padded(p.small, kernels.lanes)) * static_cast<Index>(sizeof(Scalar));
        const Index most = std::clamp(bytes_of_block / width, fewest_cells, most_cells),
                    blocks = ceil_div(cells_, most);
        block_ = ceil_div(cells_, blocks);
        copies_ = p.small > panel_ && rows_ >= least_copied;
    }

    // Rows and columns are shared among the threads, the last part with what is less than a panel; each sum goes over
    // cells in one order. False where a tap would multiply zero by NaN or infinity.
    bool run() const {
        std::atomic<bool> finite{true};
        const Index parts = std::max<Index>(1, (p_.small + part_ - panel_) / part_), bands = ceil_div(rows_, band_rows);
        const Index wanted = get_num_threads() == 1 ? 1 : tasks_of_thread * get_num_threads();
        const Index ranges = std::clamp<Index>(ceil_div(wanted, parts * p_.groups), 1, bands);
        const double work = 2.0 * static_cast<double>(block_ * rows_) * static_cast<double>(inputs_);
        const Index round = std::max<Index>(1, static_cast<Index>(least_round / std::max(work, 1.0))) * block_;
        for (Index from = 0; from < cells_ && finite.load(); from += round)
            parallel(p_.groups * parts * ranges, [&](Index task) {
                const Index range = task % ranges, part = task / ranges % parts, group = task / ranges / parts;
                const Index first = bands * range / ranges * band_rows,
                            last = std::min(rows_, bands * (range + 1) / ranges * band_rows);
                const Index column = part * part_, columns = part + 1 < parts ? part_ : p_.small - column;
                for (Index at = from; at < std::min(cells_, from + round); at += block_)
                    if (!sum({
                            .group = group,
                            .first_row = first,
                            .last_row = last,
                            .column = column,
                            .columns = columns,
                            .first_cell = at,
                            .cells = std::min(block_, cells_ - at),
                        }))
                        finite.store(false);
            });
        return finite.load();
    }

private:
    struct Part {
        Index group, first_row, last_row, column, columns, first_cell, cells;
    };

    bool sum(const Part& part) const {
        static thread_local Scratch<Scalar> large_buffer, small_buffer;
        const Index tile = part.cells * height;
        Scalar* const large = large_buffer.get(tiles_of_band * tile);
        const Scalar* small = x_ + part.first_cell * inputs_ + part.group * p_.small + part.column;
        Index small_step = inputs_;
        if (copies_) {
            Scalar* const to = small_buffer.get(part.cells * padded(part.columns, kernels_.lanes));
            for (Index column = 0; column < part.columns; column += panel_) {
                const Index count = std::min(panel_, part.columns - column);
                kernels_.copy_lines({
                    .from = small + column,
                    .step = inputs_,
                    .lines = part.cells,
                    .count = count,
                    .to = to + column * part.cells,
                    .pitch = padded(count, kernels_.lanes),
                });
            }
            small = to;
        }
        const Scalar* const end =
            copies_ ? small + part.cells * padded(part.columns, kernels_.lanes) : x_ + cells_ * inputs_;
        const CellRun all{.large = 0, .small = 0, .count = part.cells};
        bool padded_cells = false;
        for (Index row = part.first_row; row < part.last_row; row += band_rows) {
            const Index rows = std::min(band_rows, part.last_row - row);
            padded_cells = gather(part, row, rows, large) || padded_cells;
            Scalar* const weights = w_ + row * inputs_ + part.group * p_.small + part.column;
            for (Index column = 0; column < part.columns; column += panel_) {
                const Index some = std::min(panel_, part.columns - column);
                if (copies_) small_step = padded(some, kernels_.lanes);
                for (Index from = 0; from < rows; from += height) {
                    const Index count = std::min(height, rows - from);
                    for (Index r = from; r < from + count; ++r)
                        for (Index c = 0; c < some; c += kernels_.lanes)
                            __builtin_prefetch(weights + r * inputs_ + column + c, 1);
                    kernels_.correlate({
                        .large = large + from / height * tile,
                        .small = small + (copies_ ? column * part.cells : column),
                        .runs = &all,
                        .run_count = 1,
                        .large_step = height,
                        .small_step = small_step,
                        .rows = count,
                        .columns = some,
                        .weights = weights + from * inputs_ + column,
                        .weights_stride = inputs_,
                        .small_end = end,
                        .adds = adds_ || part.first_cell > 0,
                    });
                }
            }
        }
        return !padded_cells || finite_ends(part);
    }

    // Rows of the kernel for a block of cells as [tile][cell][height]; whether zeros are among them.
    bool gather(const Part& part, Index row, Index count, Scalar* to) const {
        bool zeros = false;
        const Index together = merged_ ? p_.kernel[2] * p_.big : p_.big;
        for (Index n = 0, length = 0; n < count; n += length) {
            const Index tap = (row + n) / p_.big, t2 = tap % p_.kernel[2], within = (row + n) % together;
            length = std::min(count - n, together - within);
            if (length < band_rows) length = std::min(length, height - n % height);
            const Segment segment{
                .t0 = tap / p_.kernel[2] / p_.kernel[1],
                .t1 = tap / p_.kernel[2] % p_.kernel[1],
                .shift = merged_ ? -p_.before[2] : axes_[2].offsets[static_cast<std::size_t>(t2)],
                .within = part.group * p_.big + within,
                .count = length,
            };
            zeros = gather_segment(part, segment, to + n / height * part.cells * height + n % height) || zeros;
        }
        return zeros;
    }

    // A whole band, or part of a tile.
    bool gather_segment(const Part& part, const Segment& segment, Scalar* to) const {
        const auto& [planes, lines, columns] = axes_;
        const Index shift0 = planes.offsets[static_cast<std::size_t>(segment.t0)],
                    shift1 = lines.offsets[static_cast<std::size_t>(segment.t1)];
        const Index tile = part.cells * height, step = columns.step * outputs_, length = columns.extent * outputs_;
        bool zeros = false;
        for (Index cell = part.first_cell, run = 0; cell < part.first_cell + part.cells;
             cell += run, to += run * height) {
            const Index m2 = cell % columns.count, line = cell / columns.count, m1 = line % lines.count;
            const Index m0 = line / lines.count % planes.count, image = line / lines.count / planes.count;
            run = std::min(columns.count - m2, part.first_cell + part.cells - cell);
            const Index o0 = m0 * planes.step + shift0, o1 = m1 * lines.step + shift1;
            const bool in = o0 >= 0 && o0 < planes.extent && o1 >= 0 && o1 < lines.extent;
            // Numbers of the line; all of them are there for cells in [low, high).
            const Index first = (m2 * columns.step + segment.shift) * outputs_ + segment.within,
                        left = length - segment.count - first;
            const Index low = !in ? run : first < 0 ? std::min(run, ceil_div(-first, step)) : 0;
            const Index high = !in || left < 0 ? low : std::max(low, std::min(run, left / step + 1));
            const Scalar* from = y_ + (in ? ((image * p_.output[0] + o0) * p_.output[1] + o1) * length : 0);
            const auto some = [&](Index start, Index end) {
                for (Index n = start; n < end; ++n)
                    for (Index c = 0; c < segment.count; ++c) {
                        const Index at = first + n * step + c;
                        to[c / height * tile + n * height + c % height] =
                            in && at >= 0 && at < length ? from[at] : Scalar(0);
                    }
                zeros = zeros || start < end;
            };
            some(0, low);
            if (segment.count == band_rows)
                copy_band(from + first + low * step, step, high - low, tile, to + low * height);
            else copy_cells(segment.count, from + first + low * step, step, high - low, to + low * height);
            some(high, run);
        }
        return zeros;
    }

    // Whether the cells of the small side that some tap takes outside of the output are finite.
    bool finite_ends(const Part& part) const {
        const auto whole_taps = [](const Axis& axis, Index m) {
            const auto [low, high] = std::minmax(axis.offsets.front(), axis.offsets.back());
            return m * axis.step + low >= 0 && m * axis.step + high < axis.extent;
        };
        const auto& [planes, lines, columns] = axes_;
        for (Index cell = part.first_cell; cell < part.first_cell + part.cells; ++cell) {
            const Index line = cell / columns.count, m1 = line % lines.count, m0 = line / lines.count % planes.count;
            if (whole_taps(planes, m0) && whole_taps(lines, m1) && whole_taps(columns, cell % columns.count)) continue;
            if (!kernels_.all_finite(x_ + cell * inputs_ + part.group * p_.small + part.column, part.columns,
                                     Scalar(1)))
                return false;
        }
        return true;
    }

    const Problem& p_;
    const Kernels<Scalar>& kernels_;
    const Scalar *x_, *y_;
    Scalar* w_;
    bool adds_;
    Index inputs_, outputs_;
    std::array<Axis, 3> axes_;
    bool merged_, copies_;
    Index rows_, cells_, panel_, part_, block_;
};

// The cells of one axis of the small side that a tap takes to cells of the output.
Index meeting(const Problem& p, std::size_t axis, Index tap) {
    const Index stride = p.strides[axis], shift = tap * p.dilation[axis] - p.before[axis];
    const Index from = shift < 0 ? (-shift - 1) / stride + 1 : 0;
    const Index to = p.output[axis] > shift ? (p.output[axis] - shift - 1) / stride + 1 : 0;
    return std::max<Index>(0, std::min(to, p.input[axis]) - from);
}

// The share of meetings of cells and taps that lie inside of the output.
double inside(const Problem& p) {
    double share = 1;
    for (std::size_t axis = 0; axis < 3; ++axis) {
        double count = 0;
        for (Index tap = 0; tap < p.kernel[axis]; ++tap) count += static_cast<double>(meeting(p, axis, tap));
        share *= count / static_cast<double>(p.input[axis] * p.kernel[axis]);
    }
    return share;
}

}  // namespace

template <typename Scalar>
std::optional<bool> correlate_gathered(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x,
                                       const Scalar* y, Scalar* w, bool adds) {
    if (p.batch * cells(p.input) < least_cells || p.small <= fewest_panels * kernels.panel_vectors * kernels.lanes ||
        inside(p) < least_share)
        return std::nullopt;
    return Gathered<Scalar>(p, kernels, x, y, w, adds).run();
}

template std::optional<bool> correlate_gathered<float>(const Problem&, const Kernels<float>&, const float*,
                                                       const float*, float*, bool);
template std::optional<bool> correlate_gathered<double>(const Problem&, const Kernels<double>&, const double*,
                                                        const double*, double*, bool);

}  // namespace backstride
