// What both forms of `overlap` share: which input cells reach which output cells, input lines
// channel by channel, and the sums of products that are output lines.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "buffer.h"
#include "dense_call.h"
#include "direct.h"
#include "kernels.h"
#include "sweep.h"
#include "view.h"

namespace backstride {

// The sizes of row tiles: nearly equal, at most most_lane_rows.
inline std::vector<Index> row_tiles(Index rows) {
    const Index count = ceil_div(rows, most_lane_rows);
    std::vector<Index> result;
    for (Index n = 0; n < count; ++n) result.push_back((rows + n) / count);
    return result;
}

// One axis: the input cells that may reach the output cells [from, to), and the taps of an output cell. An output cell
// is q*stride + residue - before: its residue says which taps it meets, and tap t reaches it from input cell q -
// t*dilation/stride.
struct Reach {
    Index stride, dilation, before, extent, outputs, taps,
        cells;  // `cells`: how many input cells back the last tap reaches
    Reach(const Problem& p, std::size_t axis)
        : stride(p.strides[axis]), dilation(p.dilation[axis]), before(p.before[axis]), extent(p.input[axis]),
          outputs(p.output[axis]), taps(p.kernel[axis]), cells((taps - 1) * dilation / stride) {}
    Index first(Index from) const {
        return std::clamp<Index>(floor_div(from + before - dilation * (taps - 1) + stride - 1, stride), 0, extent);
    }
    Index last(Index to) const { return std::clamp<Index>(floor_div(to - 1 + before, stride) + 1, 0, extent); }
    Index low() const { return floor_div(before, stride); }  // the first q of an output cell
    Index count() const { return floor_div(outputs - 1 + before, stride) + 1 - low(); }
    // The input cell that reaches an output cell through a tap, or -1.
    Index cell(Index output, Index tap) const {
        const Index reach = output + before - tap * dilation;
        return reach < 0 || reach % stride || reach / stride >= extent ? -1 : reach / stride;
    }
    // visit(tap, input cell) for all that meet an output cell, by rising taps.
    template <typename Visit>
    void meet(Index output, const Visit& visit) const {
        const Index start = output + before;
        if (dilation > 1 || start < 0) {
            for (Index tap = 0; tap < taps; ++tap)
                if (const Index at = cell(output, tap); at >= 0) visit(tap, at);
            return;
        }
        Index at = start / stride;
        for (Index tap = start % stride; tap < taps && at >= 0; tap += stride, --at) {
            if (at < extent) visit(tap, at);
            if (stride >= taps - tap) break;
        }
    }
};

// The taps of a residue of an axis, and how many input cells back they reach.
struct Shift {
    Index tap, cells;
};

inline std::vector<std::vector<Shift>> shifts_of(const Reach& axis) {
    std::vector<std::vector<Shift>> result(static_cast<std::size_t>(axis.stride));
    for (Index tap = 0; tap < axis.taps; ++tap)
        result[static_cast<std::size_t>(tap * axis.dilation % axis.stride)].push_back(
            {.tap = tap, .cells = tap * axis.dilation / axis.stride});
    return result;
}

// The products that output cells of a line are sums of: where the streams of cells read, which alternate in the line.
template <typename Scalar>
struct Streams {
    std::vector<Index> offsets, counts;
    std::vector<Scalar> bias;
};

// A place of the ring in which the outermost axis's planes are kept: which one it holds, and the line after the
// last one that came.
struct RingSlot {
    Index plane, next;
};

// What an output line is made from, and where its cells begin among the sums.
struct OutputLine {
    Index image, o0, o1, q, from;
};

template <typename Scalar>
class Overlap {
public:
    Overlap(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
            const Epilogue<Scalar>& epilogue, const View<Scalar>& y, Index rows)
        : p_(p), kernels_(kernels), packed_(packed), x_(x), epilogue_(epilogue), y_(y), tiles_(row_tiles(rows)),
          axes_{Reach(p, 0), Reach(p, 1), Reach(p, 2)}, shifts_(shifts_of(axes_[2])), lanes_(kernels.lanes),
          adjacent_channels_(y.channel == 1 ? p.big : 1) {}

protected:
    // Cells of a line, channel by channel, with zeros up to a whole vector.
    void load(const Scalar* from, Index count, Scalar* to, Index pitch) const {
        if (x_.channel == 1)
            return kernels_.transpose({
                .from = from,
                .step = x_.cell,
                .rows = count,
                .columns = p_.small,
                .to = to,
                .pitch = pitch,
                .pad = true,
            });
        if (x_.cell == 1)
            return kernels_.copy_lines({
                .from = from,
                .step = x_.channel,
                .lines = p_.small,
                .count = count,
                .to = to,
                .pitch = pitch,
            });
        for (Index c = 0; c < p_.small; ++c)
            for (Index n = 0; n < padded(count, lanes_); ++n)
                to[c * pitch + n] = n < count ? from[c * x_.channel + n * x_.cell] : Scalar(0);
    }

    // Of sums[tap*big + channel][input cell], `pitch` apart.
    void point(Streams<Scalar>& streams, Index pitch) const {
        streams.offsets.clear(), streams.counts.clear(), streams.bias.clear();
        for (const std::vector<Shift>& taps : shifts_)
            for (Index c = 0; c < adjacent_channels_; ++c) {
                for (const Shift& shift : taps)
                    streams.offsets.push_back(shift.tap * p_.big * pitch + c * pitch - shift.cells);
                streams.counts.push_back(static_cast<Index>(taps.size()));
            }
        for (Index channel = 0; epilogue_.bias && channel < p_.big; channel += adjacent_channels_)
            for (Index residue = 0; residue < p_.strides[2]; ++residue)
                for (Index c = 0; c < adjacent_channels_; ++c) streams.bias.push_back(epilogue_.bias[channel + c]);
    }

    // The sums of all sources overlapped into output cells, all phases of `vectors` of cells; those of `each` cells
    // from q on are a line. Channels stand beside each other in one go, or come one after the other.
    void store(const Streams<Scalar>& streams, std::vector<const Scalar*>& sources, Index pitch, Index vectors,
               Index each, const std::vector<OutputLine>& lines) const {
        static thread_local Scratch<Scalar> scratch, interleaved;
        const Index s2 = p_.strides[2], count = s2 * adjacent_channels_, size = count * vectors * lanes_;
        Scalar *beside = scratch.get(size), *cells = interleaved.get(size + most_excess);
        for (Index channel = 0; channel < p_.big; channel += adjacent_channels_) {
            kernels_.interleave({
                .sources = sources.data(),
                .source_count = static_cast<Index>(sources.size()),
                .offsets = streams.offsets.data(),
                .offset_counts = streams.counts.data(),
                .bias = epilogue_.bias ? streams.bias.data() + channel * s2 : nullptr,
                .count = count,
                .vectors = vectors,
                .activation = epilogue_.activation,
                .scratch = beside,
                .to = cells,
            });
            for (const OutputLine& line : lines) {
                const Index start = line.q * s2 - p_.before[2];
                const Index first = std::max<Index>(0, start), last = std::min(p_.output[2], start + each * s2);
                if (first >= last) continue;
                const Scalar* from = cells + (line.from * s2 + first - start) * adjacent_channels_;
                Scalar* to = y_.at(line.image, line.o0, line.o1, first) + channel * y_.channel;
                if (y_.cell == adjacent_channels_) std::copy(from, from + (last - first) * adjacent_channels_, to);
                else
                    for (Index n = 0; n < last - first; ++n, to += y_.cell, from += adjacent_channels_)
                        for (Index c = 0; c < adjacent_channels_; ++c) to[c * y_.channel] = from[c];
            }
            for (const Scalar*& source : sources) source += adjacent_channels_ * pitch;
        }
    }

    const Problem& p_;
    const Kernels<Scalar>& kernels_;
    const Scalar* packed_;
    View<const Scalar> x_;
    Epilogue<Scalar> epilogue_;
    View<Scalar> y_;
    std::vector<Index> tiles_;
    std::array<Reach, 3> axes_;
    std::vector<std::vector<Shift>> shifts_;  // of the innermost axis
    Index lanes_;
    Index adjacent_channels_;  // output channels that lie beside each other in the result
};

// The two forms: products are kept, or input lines.
template <typename Scalar>
void overlap_products(const Problem& p, const Kernels<Scalar>& kernels, bool transposed, const Scalar* packed,
                      const View<const Scalar>& x, const Epilogue<Scalar>& epilogue, const View<Scalar>& y);
template <typename Scalar>
void overlap_lines(const Problem& p, const Kernels<Scalar>& kernels, const Scalar* packed, const View<const Scalar>& x,
                   const Epilogue<Scalar>& epilogue, const View<Scalar>& y);

}  // namespace backstride
