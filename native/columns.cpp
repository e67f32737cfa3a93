// A table says for each cell of x in an image and each tap which cell of y they meet in; rows are
// copied, or added, by it. Tasks are rows one way and channels of y the other, so that no two write
// to one cell.
#include "columns.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "threads.h"
#include "tuning.h"
#include "view.h"

namespace backstride {

using namespace tuning::columns;

namespace {

// For each cell of x in an image and each tap the cell of y that they meet in, or -1.
std::vector<Index> meetings(const Problem& p) {
    const Index taps = cells(p.kernel);
    std::vector<Index> found;
    found.reserve(static_cast<std::size_t>(cells(p.input) * taps));
    for (Index cell = 0; cell < cells(p.input); ++cell)
        for (Index tap = 0; tap < taps; ++tap) {
            Index at = 0, rest = cell, left = tap, scale = 1;
            for (std::size_t axis = 3; axis-- > 0;
                 rest /= p.input[axis], left /= p.kernel[axis], scale *= p.output[axis]) {
                const Index o =
                    rest % p.input[axis] * p.strides[axis] + left % p.kernel[axis] * p.dilation[axis] - p.before[axis];
                at = at < 0 || o < 0 || o >= p.output[axis] ? -1 : at + o * scale;
            }
            found.push_back(at);
        }
    return found;
}

}  // namespace

template <typename Number>
void lay_columns(const Problem& p, const Number* y, Number* columns, bool last) {
    const std::vector<Index> met = meetings(p);
    const Index taps = cells(p.kernel), row = taps * p.big, area = cells(p.output), inner = cells(p.input),
                all = p.batch * inner;
    const Index each = std::max<Index>(1, numbers_of_task / std::max<Index>(1, row));
    parallel(ceil_div(all, each), [&](Index task) {
        for (Index at = task * each; at < std::min(all, (task + 1) * each); ++at) {
            const Index* const places = met.data() + at % inner * taps;
            const Number* const image = y + at / inner * area * p.big;
            Number* to = columns + at * row;
            if (last) {
                for (Index tap = 0; tap < taps; ++tap, to += p.big)
                    if (places[tap] < 0) std::fill_n(to, p.big, Number(0));
                    else std::copy_n(image + places[tap] * p.big, p.big, to);
                continue;
            }
            for (Index channel = 0; channel < p.big; ++channel, to += taps) {
                const Number* const plane = image + channel * area;
                for (Index tap = 0; tap < taps; ++tap) to[tap] = places[tap] < 0 ? Number(0) : plane[places[tap]];
            }
        }
    });
}

void sum_columns(const Problem& p, const float* columns, const float* bias, float* y, bool last) {
    const std::vector<Index> met = meetings(p);
    const Index taps = cells(p.kernel), row = taps * p.big, area = cells(p.output), inner = cells(p.input);
    // Tasks have channels of their own, so that sums have one order.
    const Index most = std::max<Index>(1, numbers_of_task / (inner * taps)),
                wanted = last ? padded(most, channel_step) : most;
    const Index each = std::min(p.big, wanted), parts = ceil_div(p.big, each);
    parallel(p.batch * parts, [&](Index task) {
        const Index first = task % parts * each, count = std::min(each, p.big - first);
        const float* from = columns + task / parts * inner * row;
        float* const image = y + task / parts * area * p.big;
        const auto start = [&](Index channel) { return bias ? bias[channel] : 0.0f; };
        if (last) {
            for (Index o = 0; o < area; ++o)
                for (Index c = first; c < first + count; ++c) image[o * p.big + c] = start(c);
            for (Index cell = 0; cell < inner; ++cell)
                for (Index tap = 0; tap < taps; ++tap) {
                    const Index at = met[static_cast<std::size_t>(cell * taps + tap)];
                    if (at < 0) continue;
                    const float* const term = from + cell * row + tap * p.big + first;
                    float* const to = image + at * p.big + first;
                    for (Index c = 0; c < count; ++c) to[c] += term[c];
                }
            return;
        }
        for (Index c = first; c < first + count; ++c) {
            float* const plane = image + c * area;
            std::fill_n(plane, area, start(c));
            const Index* place = met.data();
            for (Index cell = 0; cell < inner; ++cell) {
                const float* const term = from + cell * row + c * taps;
                for (Index tap = 0; tap < taps; ++tap, ++place)
                    if (*place >= 0) plane[*place] += term[tap];
            }
        }
    });
}

template void lay_columns<float>(const Problem&, const float*, float*, bool);
template void lay_columns<std::uint16_t>(const Problem&, const std::uint16_t*, std::uint16_t*, bool);

}  // namespace backstride
