// A strip of tiles goes through all three steps in one thread, in its second-level cache: threads
// may run on processors that share no cache, where what one wrote and another reads goes through
// memory.
//
// A strip's input is (cells, small), its transform (tile, place, point, small), its products (tile,
// place, point, big) and its results (cells, big): a place is a cell of the plane, or one of the
// cells that dilation leaves between two of a tile. Workspace of a thread: these four, under 4 MiB;
// more where a tile of a plane is larger, from the memory of large results.
#include "axis_tiles.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <vector>

#include "buffer.h"
#include "results.h"
#include "threads.h"
#include "tuning.h"
#include "view.h"

namespace backstride {

using tuning::axis::strips_of_round;
using tuning::boxes::cells_at_once;

namespace {

// Scratch of a thread, which it does not keep where that is large.
template <typename Scalar>
class TransientScratch {
public:
    TransientScratch(Scratch<Scalar>& small, Index count) {
        if (static_cast<std::size_t>(count) * sizeof(Scalar) < least_kept) data_ = small.get(count);
        else data_ = large_.emplace(count).data();
    }
    Scalar* data() const { return data_; }

private:
    Scalar* data_;
    std::optional<ReusedBuffer<Scalar>> large_;
};

template <typename Scalar>
class Strips {
public:
    Strips(const AxisConvolution<Scalar>& job, const Kernels<Scalar>& kernels)
        : job_(job), kernels_(kernels), own_(job.weights.problem()), points_(own_.groups), planar_(job.plane[0] > 0),
          halo_(planar_ ? 0 : own_.kernel[1] * own_.kernel[2] - 1), inner_(planar_ ? job.plane[0] * job.plane[1] : 1),
          target_inner_(planar_ ? job.target_plane[0] * job.target_plane[1] : 1),
          tiles_(ceil_div(job.count, axis_outputs * job.dilation)) {
        const Index of_tile = inner_ * job.dilation * points_ * own_.small;
        const Index wanted = (tiles_ * of_tile + job.strip - 1) / std::max<Index>(1, job.strip);
        const Index even = wanted <= 1 ? 1 : padded(wanted, strips_of_round);
        strips_ = std::clamp<Index>(even, 1, tiles_);
        for (Index row = 0; row < axis_outputs; ++row)
            for (Index c = 0; c < own_.big; ++c) {
                Scalar sum = 0;
                for (Index point = 0; point < points_; ++point)
                    sum += job.output[row * points_ + point] * job.offset[point * own_.big + c];
                untouched_.push_back(sum);
            }
    }

    // Where threads would not get as much, each step of a strip is shared among them.
    bool run() {
        if (!job_.weights.small()) return false;
        const Index tasks = job_.batch * strips_, threads = get_num_threads();
        const auto task = [&](Index n) {
            strip(n / strips_, tiles_ * (n % strips_) / strips_, tiles_ * (n % strips_ + 1) / strips_);
        };
        if (tasks % threads == 0 || tasks >= strips_of_round * threads) parallel(tasks, task);
        else
            for (Index n = 0; n < tasks; ++n) task(n);
        return fits_.load();
    }

private:
    // The tiles [first, last) of an image.
    void strip(Index image, Index first, Index last) {
        static thread_local Scratch<Scalar> row_buffer, cell_buffer, product_buffer, result_buffer;
        if (!fits_.load()) return;
        const Index tiles = last - first, channels = own_.small, outputs = own_.big;
        const Index distance = job_.dilation * inner_, target_distance = job_.dilation * target_inner_;
        const Index read = (axis_outputs * (tiles + halo_ - 1) + points_) * distance;
        const Index from = (axis_outputs * first * job_.dilation - job_.before) * inner_;
        const bool there = !job_.source_first && from >= 0 && from + read <= job_.length * inner_;
        const TransientScratch<Scalar> row_scratch(row_buffer, there ? 0 : read * channels);
        if (!there) load(image, from, read, row_scratch.data());
        const Scalar* const rows =
            there ? job_.source + (image * job_.length * inner_ + from) * channels : row_scratch.data();
        in_pieces(read, [&](Index n, Index some) {
            if (!kernels_.all_finite(rows + n * channels, some * channels, scale_of_numbers<Scalar>))
                fits_.store(false);
        });
        if (!fits_.load()) return;

        const TransientScratch<Scalar> cells(cell_buffer, (tiles + halo_) * distance * points_ * channels);
        transform({
            .matrix = job_.input,
            .points = points_,
            .rows = points_,
            .tiles = tiles + halo_,
            .distance = distance,
            .channels = channels,
            .from = rows,
            .from_tile = axis_outputs * distance * channels,
            .from_next = channels,
            .from_point = distance * channels,
            .to = cells.data(),
            .to_tile = distance * points_ * channels,
            .to_next = points_ * channels,
            .to_row = channels,
        });
        const TransientScratch<Scalar> products(product_buffer, tiles * target_distance * points_ * outputs);
        multiply(tiles, cells.data(), products.data());
        const Index at = first * axis_outputs * target_distance, rows_of_tiles = tiles * axis_outputs * target_distance;
        const Index kept = std::min(rows_of_tiles, job_.count * target_inner_ - at);
        Scalar* const target = job_.target + image * job_.count * target_inner_ * outputs;
        const bool direct = !job_.target_first && kept == rows_of_tiles;
        const TransientScratch<Scalar> result_scratch(result_buffer, direct ? 0 : rows_of_tiles * outputs);
        Scalar* const results = direct ? target + at * outputs : result_scratch.data();
        transform({
            .matrix = job_.output,
            .points = points_,
            .rows = axis_outputs,
            .tiles = tiles,
            .distance = target_distance,
            .channels = outputs,
            .from = products.data(),
            .from_tile = target_distance * points_ * outputs,
            .from_next = points_ * outputs,
            .from_point = outputs,
            .to = results,
            .to_tile = axis_outputs * target_distance * outputs,
            .to_next = outputs,
            .to_row = target_distance * outputs,
        });
        store(results, kept, target, at, direct);
    }

    // The products on every point, of all tiles.
    void multiply(Index tiles, const Scalar* cells, Scalar* products) const {
        Problem p = own_;
        if (planar_) {
            p.batch = tiles;
            p.input = {1, job_.plane[0], job_.plane[1]}, p.output = {1, job_.target_plane[0], job_.target_plane[1]};
            p.before = {0, job_.crop[0], job_.crop[1]};
        } else {
            p.batch = 1;
            const bool line = job_.dilation == 1;
            p.input = line ? Axes{1, 1, tiles + halo_} : Axes{1, tiles + halo_, job_.dilation};
            p.output = line ? Axes{1, 1, tiles} : Axes{1, tiles, job_.dilation};
            p.before = line ? Axes{0, 0, halo_} : Axes{0, halo_, 0};
        }
        job_.weights.run(p, dense(cells, p.input, points_ * own_.small),
                         {.bias = job_.offset, .activation = Activation::none},
                         dense(products, p.output, points_ * own_.big));
    }

    // Tile by tile, or where there are few, part by part of each, for the threads that have nothing else to do.
    void transform(const AxisTiles<Scalar>& all) const {
        const Index threads = get_num_threads(), ranges = std::min(all.tiles, threads);
        const Index parts = std::clamp<Index>(threads / ranges, 1, all.distance);
        parallel(ranges * parts, [&](Index task) {
            const Index range = task / parts, part = task % parts;
            const Index tile = all.tiles * range / ranges, place = all.distance * part / parts;
            AxisTiles<Scalar> some = all;
            some.tiles = all.tiles * (range + 1) / ranges - tile;
            some.distance = all.distance * (part + 1) / parts - place;
            some.from += tile * all.from_tile + place * all.from_next;
            some.to += tile * all.to_tile + place * all.to_next;
            kernels_.axis_tiles(some);
        });
    }

    // `count` cells of an image from one on, which may lie before it or behind it, where zeros are, as rows of
    // channels.
    void load(Index image, Index from, Index count, Scalar* rows) const {
        const Index channels = own_.small, whole = job_.length * inner_;
        const Index low = std::clamp<Index>(-from, 0, count), high = std::clamp<Index>(whole - from, low, count);
        std::fill_n(rows, low * channels, Scalar(0));
        std::fill_n(rows + high * channels, (count - high) * channels, Scalar(0));
        const Scalar* const source = job_.source + image * whole * channels;
        Scalar* const to = rows + low * channels;
        from += low;
        in_pieces(high - low, [&](Index n, Index some) {
            if (job_.source_first)
                kernels_.transpose({
                    .from = source + from + n,
                    .step = whole,
                    .rows = channels,
                    .columns = some,
                    .to = to + n * channels,
                    .pitch = channels,
                });
            else std::copy_n(source + (from + n) * channels, some * channels, to + n * channels);
        });
    }

    // Whether an output meets a cell of the input; tiles leave rounding errors of their neighbours in those that do
    // not.
    bool reached(Index output) const {
        const Index first =
            std::max<Index>(0, output < job_.before ? ceil_div(job_.before - output, job_.dilation) : 0);
        return first < job_.taps && output + first * job_.dilation - job_.before < job_.length;
    }

    // Rows of results to the cells of the target from one on, unless they are there.
    void store(Scalar* results, Index count, Scalar* target, Index at, bool there) {
        const Index channels = own_.big, whole = job_.count * target_inner_;
        in_pieces(count, [&](Index n, Index some) {
            Scalar* const rows = results + n * channels;
            for (Index m = 0; m < some; ++m) {
                const Index output = (at + n + m) / target_inner_;
                if (!reached(output))
                    std::copy_n(untouched_.data() + output / job_.dilation % axis_outputs * channels, channels,
                                rows + m * channels);
            }
            if (job_.target_first)
                kernels_.transpose({
                    .from = rows,
                    .step = channels,
                    .rows = some,
                    .columns = channels,
                    .to = target + at + n,
                    .pitch = whole,
                });
            else if (!there) std::copy_n(rows, some * channels, target + (at + n) * channels);
        });
    }

    template <typename Work>
    static void in_pieces(Index count, const Work& work) {
        parallel(ceil_div(count, cells_at_once), [&](Index piece) {
            work(piece * cells_at_once, std::min(cells_at_once, count - piece * cells_at_once));
        });
    }

    const AxisConvolution<Scalar>& job_;
    const Kernels<Scalar>& kernels_;
    const Problem& own_;
    Index points_;
    bool planar_;
    Index halo_, inner_, target_inner_, tiles_, strips_;
    std::vector<Scalar> untouched_;  // [axis_outputs][channels]
    std::atomic<bool> fits_{true};
};

}  // namespace

template <typename Scalar>
bool run_axis_convolution(const AxisConvolution<Scalar>& job, const Kernels<Scalar>& kernels) {
    return Strips<Scalar>(job, kernels).run();
}

template bool run_axis_convolution<float>(const AxisConvolution<float>&, const Kernels<float>&);

}  // namespace backstride
