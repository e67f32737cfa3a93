#include <algorithm>
#include <vector>

#include "sweep.h"
#include "threads.h"
#include "weights.h"

namespace backstride {
namespace {

constexpr Index bytes_of_pass = 400 * 1024;  // of cells that stay in the cache while all tiles of a pass read them
constexpr Index tile = 6;                    // rows of the kernel in a full tile

// The inputs m with 0 <= m*step + shift < extent along the innermost axis.
struct Range {
    Index from, to;
    Range(const Axis& axis, Index shift)
        : from(shift < 0 ? (-shift + axis.step - 1) / axis.step : 0),
          to(std::min(axis.count, axis.extent > shift ? (axis.extent - shift + axis.step - 1) / axis.step : 0)) {
        if (to < from) to = from;
    }
};

// Rows of the kernel are the taps of the innermost axis times the channels of y, which lie together in y where taps
// are neighbours: inner input cells meet all of them at once, and cells near the ends tap by tap.
template <typename Scalar>
class Gradient {
public:
    Gradient(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w)
        : p_(p), kernels_(kernels), x_(x), y_(y), w_(w), inputs_(p.groups * p.small), outputs_(p.groups * p.big),
          axes_{whole(p, 0), whole(p, 1), whole(p, 2)}, depthwise_(p.groups > 1 && p.small == 1 && p.big == 1),
          merged_(p.groups == 1 && p.dilation[2] == 1) {
        const Index bytes = (p.strides[2] * outputs_ + inputs_) * static_cast<Index>(sizeof(Scalar));
        most_cells_ = std::clamp<Index>(bytes_of_pass / bytes, 64, 1024);
    }

    void run() const {
        const Index taps = p_.kernel[0] * p_.kernel[1], groups = depthwise_ ? 1 : p_.groups, rows = p_.kernel[2] * p_.big;
        std::fill(w_, w_ + taps * rows * inputs_, Scalar(0));
        const Index bands = std::clamp<Index>(4 * get_num_threads() / std::max<Index>(1, taps * groups), 1, (rows + tile - 1) / tile);
        const Index each = ((rows + bands - 1) / bands + tile - 1) / tile * tile;
        parallel(taps * groups * bands, [&](Index task) {
            const Index first = task % bands * each, last = std::min(rows, first + each);
            if (first < last) band(task / bands / groups, task / bands % groups, first, last);
        });
    }

private:
    void band(Index tap, Index group, Index first, Index last) const {
        const auto& [planes, lines, columns] = axes_;
        const Index shift0 = planes.offsets[static_cast<std::size_t>(tap / p_.kernel[1])];
        const Index shift1 = lines.offsets[static_cast<std::size_t>(tap % p_.kernel[1])];
        Range inner(columns, columns.offsets.front());
        inner.to = std::min(inner.to, Range(columns, columns.offsets.back()).to);
        const bool whole_cells = merged_ && inner.from < inner.to;
        if (whole_cells) pass(tap, group, shift0, shift1, columns.offsets.front(), inner.from, inner.to, first, last);
        for (Index t2 = first / p_.big; t2 * p_.big < last; ++t2) {
            const Index shift2 = columns.offsets[static_cast<std::size_t>(t2)];
            const Range own(columns, shift2);
            const Index from = std::max(first, t2 * p_.big), to = std::min(last, (t2 + 1) * p_.big);
            // Rows of a tap count from the tap's own cell.
            const auto part = [&](Index low, Index high) {
                if (low < high) pass(tap, group, shift0, shift1, shift2, low, high, from, to, t2 * p_.big);
            };
            if (!whole_cells) {
                part(own.from, own.to);
            } else {
                part(own.from, std::min(own.to, inner.from));
                part(std::max(own.from, inner.to), own.to);
            }
        }
    }

    // Rows [first, last) of a tap of the outer axes, summed over the input cells [from, to) of every line.
    void pass(Index tap, Index group, Index shift0, Index shift1, Index shift2, Index from, Index to, Index first, Index last,
              Index origin = 0) const {
        const auto& [planes, lines, columns] = axes_;
        static thread_local std::vector<Run> runs;
        runs.clear();
        Index cells = 0;
        Scalar* weights = w_ + (tap * p_.kernel[2] * p_.big + first) * inputs_ + group * p_.small;
        const auto flush = [&] {
            const auto run = depthwise_ ? kernels_.correlate_depthwise : kernels_.correlate;
            run({y_ + group * p_.big + first - origin, x_ + group * p_.small, runs.data(), static_cast<Index>(runs.size()),
                 columns.step * outputs_, inputs_, last - first, depthwise_ ? inputs_ : p_.small, weights, inputs_});
            runs.clear();
            cells = 0;
        };
        for (Index image = 0; image < p_.batch; ++image)
            for (Index m0 = 0; m0 < planes.count; ++m0)
                for (Index m1 = 0; m1 < lines.count; ++m1) {
                    const Index o0 = m0 * planes.step + shift0, o1 = m1 * lines.step + shift1;
                    if (o0 < 0 || o0 >= planes.extent || o1 < 0 || o1 >= lines.extent) continue;
                    const Index large = ((image * p_.output[0] + o0) * p_.output[1] + o1) * p_.output[2] + shift2;
                    const Index small = ((image * p_.input[0] + m0) * p_.input[1] + m1) * p_.input[2];
                    for (Index m2 = from; m2 < to; m2 += most_cells_) {
                        const Index count = std::min(most_cells_, to - m2);
                        runs.push_back({(large + m2 * columns.step) * outputs_, (small + m2) * inputs_, count});
                        if ((cells += count) >= most_cells_) flush();
                    }
                }
        if (!runs.empty()) flush();
    }

    const Problem& p_;
    const Kernels<Scalar>& kernels_;
    const Scalar *x_, *y_;
    Scalar* w_;
    Index inputs_, outputs_;
    std::array<Axis, 3> axes_;
    bool depthwise_, merged_;
    Index most_cells_;
};

}  // namespace

template <typename Scalar>
void correlate_kernel_gradient(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y, Scalar* w) {
    Gradient<Scalar>(p, kernels, x, y, w).run();
}

template void correlate_kernel_gradient<float>(const Problem&, const Kernels<float>&, const float*, const float*, float*);
template void correlate_kernel_gradient<double>(const Problem&, const Kernels<double>&, const double*, const double*, double*);

}  // namespace backstride
