// The kernel gradient tap by tap, on arrays as they lie: which of the three ways runs, and the sums
// of runs of cells. Rows of the kernel, which are taps of the innermost axis times channels of y,
// are shared among the threads; lines come in blocks that stay in the second-level cache for all
// taps, or all at once where that reads less. No workspace.
#include "correlate.h"

#include <algorithm>
#include <vector>

#include "sweep.h"
#include "threads.h"
#include "tuning.h"
#include "weights.h"

namespace backstride {

using namespace tuning::gradient;

namespace {

// The inputs m with 0 <= m*step + shift < extent along the innermost axis.
struct Range {
    Index from, to;
    Range(const Axis& axis, Index shift)
        : from(shift < 0 ? ceil_div(-shift, axis.step) : 0),
          to(std::min(axis.count, axis.extent > shift ? ceil_div(axis.extent - shift, axis.step) : 0)) {
        if (to < from) to = from;
    }
};

// Rows of the kernel are the taps of the innermost axis times the channels of y, which lie together in y where taps
// are neighbours: inner input cells meet all of them at once, and cells near the ends tap by tap.
template <typename Scalar>
class Gradient {
public:
    Gradient(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w, bool adds)
        : p_(p), kernels_(kernels), x_(x), y_(y), w_(w), adds_(adds), inputs_(p.groups * p.small),
          outputs_(p.groups * p.big), axes_{whole(p, 0), whole(p, 1), whole(p, 2)},
          depthwise_(p.groups > 1 && p.small == 1 && p.big == 1), merged_(p.groups == 1 && p.dilation[2] == 1) {
        const Index bytes = (p.strides[2] * outputs_ + inputs_) * static_cast<Index>(sizeof(Scalar));
        most_cells_ = std::clamp(bytes_at_once / bytes, fewest_cells_at_once, most_cells_at_once);
    }

    // The rows of all taps of the outer axes and groups are shared among the threads; each of them sums over cells in
    // one order. Lines pass in blocks that stay in the cache for all taps, or all at once where it is cheaper to read
    // them for each tap than the weights for each block.
    void run() const {
        const Index rows = p_.kernel[2] * p_.big,
                    all = p_.kernel[0] * p_.kernel[1] * (depthwise_ ? 1 : p_.groups) * rows;
        const Index workers = std::min<Index>(get_num_threads(), ceil_div(all, tile));
        const Index lines = p_.batch * axes_[0].count * axes_[1].count, each = lines_of_block(lines);
        // A round is long enough that waking the threads does not count.
        const double work = 2.0 * static_cast<double>(each * axes_[2].count) *
                            static_cast<double>(all * (depthwise_ ? inputs_ : p_.small));
        const Index round = each * std::max<Index>(1, static_cast<Index>(least_round / std::max(work, 1.0)));
        Index from = 0;
        do {
            const Index to = std::min(lines, from + round);
            parallel(workers, [&](Index worker) {
                const auto cut = [&](Index n) { return n == workers ? all : all * n / workers / tile * tile; };
                Index block = from;
                do {
                    part(block, std::min(to, block + each), cut(worker), cut(worker + 1), rows, block == 0 && !adds_);
                } while ((block += each) < to);
            });
            from = to;
        } while (from < lines);
    }

private:
    Index lines_of_block(Index lines) const {
        const double taps = static_cast<double>(p_.kernel[0] * p_.kernel[1]), size = sizeof(Scalar);
        const double line =
            size * static_cast<double>(axes_[2].count * (p_.strides[1] * p_.strides[2] * outputs_ + inputs_));
        const double weights = size * taps * static_cast<double>(p_.kernel[2] * p_.big * inputs_);
        const Index each =
            std::max<Index>(1, static_cast<Index>(static_cast<double>(bytes_of_block) / std::max(line, 1.0)));
        const double blocks = static_cast<double>(ceil_div(lines, each));
        return blocks * 2 * weights < taps * line * static_cast<double>(lines) ? each : std::max<Index>(1, lines);
    }

    // The rows [from, to) of all, summed over some lines.
    void part(Index first_line, Index last_line, Index from, Index to, Index rows, bool zero) const {
        const Index groups = depthwise_ ? 1 : p_.groups;
        const Index band =
            std::max<Index>(1, bytes_of_band / (inputs_ * static_cast<Index>(sizeof(Scalar))) / tile) * tile;
        while (from < to) {
            const Index row = from % rows, last = std::min({row + band, rows, row + to - from}),
                        tap = from / rows / groups;
            const Index group = from / rows % groups, width = depthwise_ ? inputs_ : p_.small;
            if (zero)
                for (Index r = row; r < last; ++r)
                    std::fill_n(w_ + (tap * rows + r) * inputs_ + group * p_.small, width, Scalar(0));
            const Where where{.tap = tap, .group = group, .first_line = first_line, .last_line = last_line};
            this->band(where, row, last);
            from += last - row;
        }
    }

    // What rows are summed for: a tap of the outer axes, a group, and some lines.
    struct Where {
        Index tap, group, first_line, last_line;
    };

    void band(const Where& where, Index first, Index last) const {
        const Axis& columns = axes_[2];
        if (!merged_) {
            for (Index t2 = first / p_.big; t2 * p_.big < last; ++t2) {
                const Index shift2 = columns.offsets[static_cast<std::size_t>(t2)];
                const Range own(columns, shift2);
                sum_rows(where, shift2, own.from, own.to, std::max(first, t2 * p_.big),
                         std::min(last, (t2 + 1) * p_.big), t2 * p_.big);
            }
            return;
        }
        const Index shift2 = columns.offsets.front();
        Range inner(columns, shift2);
        inner.to = std::min(inner.to, Range(columns, columns.offsets.back()).to);
        if (inner.from >= inner.to) inner.from = inner.to = 0;
        sum_rows(where, shift2, inner.from, inner.to, first, last);
        // The taps that take a cell near the ends into the output are neighbours, whose rows count from the first one's
        // cell.
        for (Index m2 = 0; m2 < columns.count; ++m2) {
            if (m2 == inner.from) m2 = inner.to;
            if (m2 == columns.count) break;
            const Index at = m2 * columns.step + shift2, t2 = std::max<Index>(0, -at),
                        end = std::min(p_.kernel[2], columns.extent - at);
            sum_rows(where, shift2 + t2, m2, m2 + 1, std::max(first, t2 * p_.big), std::min(last, end * p_.big),
                     t2 * p_.big);
        }
    }

    // Rows [first, last) of a tap of the outer axes, summed over the input cells [from, to) of every line.
    void sum_rows(const Where& where, Index shift2, Index from, Index to, Index first, Index last,
                  Index origin = 0) const {
        if (from >= to || first >= last) return;
        const auto& [planes, lines, columns] = axes_;
        const Index shift0 = planes.offsets[static_cast<std::size_t>(where.tap / p_.kernel[1])];
        const Index shift1 = lines.offsets[static_cast<std::size_t>(where.tap % p_.kernel[1])];
        static thread_local std::vector<CellRun> runs;
        runs.clear();
        Index gathered = 0;
        Scalar* weights = w_ + (where.tap * p_.kernel[2] * p_.big + first) * inputs_ + where.group * p_.small;
        // To fetch what comes next takes longer than it saves where few products meet it, and lines are short.
        const bool streams = last - first >= tile || to - from >= long_range;
        const auto flush = [&] {
            const auto run = depthwise_ ? kernels_.correlate_depthwise : kernels_.correlate;
            run({
                .large = y_ + where.group * p_.big + first - origin,
                .small = x_ + where.group * p_.small,
                .runs = runs.data(),
                .run_count = static_cast<Index>(runs.size()),
                .large_step = columns.step * outputs_,
                .small_step = inputs_,
                .rows = last - first,
                .columns = depthwise_ ? inputs_ : p_.small,
                .weights = weights,
                .weights_stride = inputs_,
                .small_end = x_ + p_.batch * cells(p_.input) * inputs_,
                .streams = streams,
            });
            runs.clear();
            gathered = 0;
        };
        Index image = where.first_line / lines.count / planes.count, m0 = where.first_line / lines.count % planes.count;
        Index m1 = where.first_line % lines.count;
        for (Index line = where.first_line; line < where.last_line; ++line) {
            const Index o0 = m0 * planes.step + shift0, o1 = m1 * lines.step + shift1;
            if (o0 >= 0 && o0 < planes.extent && o1 >= 0 && o1 < lines.extent) {
                const Index large = ((image * p_.output[0] + o0) * p_.output[1] + o1) * p_.output[2] + shift2;
                for (Index m2 = from; m2 < to; m2 += most_cells_) {
                    const Index count = std::min(most_cells_, to - m2);
                    runs.push_back({
                        .large = (large + m2 * columns.step) * outputs_,
                        .small = (line * p_.input[2] + m2) * inputs_,
                        .count = count,
                    });
                    if ((gathered += count) >= most_cells_) flush();
                }
            }
            if (++m1 < lines.count) continue;
            m1 = 0;
            if (++m0 < planes.count) continue;
            m0 = 0;
            ++image;
        }
        if (!runs.empty()) flush();
    }

    const Problem& p_;
    const Kernels<Scalar>& kernels_;
    const Scalar *x_, *y_;
    Scalar* w_;
    bool adds_;
    Index inputs_, outputs_;
    std::array<Axis, 3> axes_;
    bool depthwise_, merged_;
    Index most_cells_;
};

}  // namespace

template <typename Scalar>
bool correlate_part(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w,
                    GradientChoice choice, bool adds) {
    const bool forced = choice == GradientChoice::tiles,
               tiled = forced || (choice == GradientChoice::automatic && sizeof(Scalar) == sizeof(float));
    if (tiled)
        if (const auto finite = correlate_winograd(p, kernels, forced, x, y, w, adds)) return *finite;
    if (choice != GradientChoice::tap_by_tap)
        if (const auto finite = correlate_gathered(p, kernels, x, y, w, adds)) return *finite;
    Gradient<Scalar>(p, kernels, x, y, w, adds).run();
    return true;
}

template <typename Scalar>
void correlate_kernel_gradient(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y,
                               Scalar* w, GradientChoice choice) {
    if (!correlate_part(p, kernels, x, y, w, choice, false))
        correlate_part(p, kernels, x, y, w, GradientChoice::tap_by_tap, false);
}

template bool correlate_part<float>(const Problem&, const Kernels<float>&, const float*, const float*, float*,
                                    GradientChoice, bool);
template bool correlate_part<double>(const Problem&, const Kernels<double>&, const double*, const double*, double*,
                                     GradientChoice, bool);

template void correlate_kernel_gradient<float>(const Problem&, const Kernels<float>&, const float*, const float*,
                                               float*, GradientChoice);
template void correlate_kernel_gradient<double>(const Problem&, const Kernels<double>&, const double*, const double*,
                                                double*, GradientChoice);

}  // namespace backstride
