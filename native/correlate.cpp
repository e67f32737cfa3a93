#include <algorithm>
#include <vector>

#include "weights.h"
#include "sweep.h"
#include "threads.h"

namespace backstride {

constexpr Index most_cells = 168;  // of one pass: what stays in the cache while all tiles of a tap read it

template <typename Scalar>
void correlate_kernel_gradient(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* x, const Scalar* y,
                               Scalar* w) {
    const Index inputs = p.groups * p.small, outputs = p.groups * p.big;
    const Axis planes = whole(p, 0), lines = whole(p, 1), columns = whole(p, 2);
    const Index taps1 = p.kernel[1], taps2 = p.kernel[2], taps = p.kernel[0] * taps1 * taps2;
    const Index bands = std::clamp<Index>(4 * get_num_threads() / std::max<Index>(1, taps * p.groups), 1,
                                          (p.big + 5) / 6);
    const Index each = ((p.big + bands - 1) / bands + 5) / 6 * 6;
    std::fill(w, w + taps * p.big * inputs, Scalar(0));
    parallel(taps * p.groups * bands, [&](Index task) {
        const Index group = task / bands % p.groups, first = task % bands * each;
        const Index tap = task / bands / p.groups, rows = std::min(each, p.big - first);
        if (rows <= 0) return;
        const Index shift0 = planes.offsets[static_cast<std::size_t>(tap / taps2 / taps1)];
        const Index shift1 = lines.offsets[static_cast<std::size_t>(tap / taps2 % taps1)];
        const Index shift2 = columns.offsets[static_cast<std::size_t>(tap % taps2)];
        // The inputs m with 0 <= m*step + shift < extent: a run of cells along the innermost axis.
        const Index from = shift2 < 0 ? (-shift2 + columns.step - 1) / columns.step : 0;
        const Index to = std::min(columns.count, (columns.extent - shift2 + columns.step - 1) / columns.step);
        static thread_local std::vector<Run> runs;
        Index cells = 0;
        const auto flush = [&] {
            kernels.correlate({y + group * p.big + first, x + group * p.small, runs.data(),
                               static_cast<Index>(runs.size()), columns.step * outputs, inputs, rows, p.small,
                               w + (tap * p.big + first) * inputs + group * p.small, inputs});
            runs.clear();
            cells = 0;
        };
        runs.clear();
        for (Index image = 0; image < p.batch; ++image)
            for (Index m0 = 0; m0 < planes.count; ++m0)
                for (Index m1 = 0; m1 < lines.count; ++m1) {
                    const Index o0 = m0 * planes.step + shift0, o1 = m1 * lines.step + shift1;
                    if (o0 < 0 || o0 >= planes.extent || o1 < 0 || o1 >= lines.extent) continue;
                    const Index large = ((image * p.output[0] + o0) * p.output[1] + o1) * p.output[2] + shift2;
                    const Index small = ((image * p.input[0] + m0) * p.input[1] + m1) * p.input[2];
                    for (Index m2 = from; m2 < to; m2 += most_cells) {
                        const Index count = std::min(most_cells, to - m2);
                        runs.push_back({(large + m2 * columns.step) * outputs, (small + m2) * inputs, count});
                        if ((cells += count) >= most_cells) flush();
                    }
                }
        if (!runs.empty()) flush();
    });
}

template void correlate_kernel_gradient<float>(const Problem&, const Kernels<float>&, const float*, const float*,
                                               float*);
template void correlate_kernel_gradient<double>(const Problem&, const Kernels<double>&, const double*, const double*,
                                                double*);

}  // namespace backstride
