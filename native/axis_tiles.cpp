// A strip of tiles goes through all three steps in one thread, in its second-level cache: between processors that share no
// cache, numbers that one wrote and another reads take longer than the products. Workspace per thread: a strip, its input
// and its results, under 4 MiB; more where a tile of a plane is larger, from the memory of large results.
#include "axis_tiles.h"

#include <algorithm>
#include <atomic>
#include <optional>

#include "buffer.h"
#include "results.h"
#include "threads.h"
#include "view.h"

namespace backstride {
namespace {

constexpr Index cells_at_once = 64;  // that are turned from channels first to last, or back
constexpr Index strips_of_round = 4;  // their number is a multiple, so that as many threads get the same

// Scratch of a thread, which it does not keep where that is large.
template <typename Scalar>
class Room {
public:
    Room(Scratch<Scalar>& small, Index count) {
        if (static_cast<std::size_t>(count) * sizeof(Scalar) < least_kept) data_ = small.get(count);
        else data_ = large_.emplace(count).data();
    }
    Scalar* data() const { return data_; }

private:
    Scalar* data_;
    std::optional<Kept<Scalar>> large_;
};

template <typename Scalar>
class Strips {
public:
    Strips(const AxisConvolution<Scalar>& job, const Kernels<Scalar>& kernels)
        : job_(job), kernels_(kernels), own_(job.weights.problem()), points_(own_.groups), planar_(job.plane[0] > 0),
          halo_(planar_ ? 0 : own_.kernel[1] * own_.kernel[2] - 1),
          inner_(planar_ ? job.plane[0] * job.plane[1] : 1), target_inner_(planar_ ? job.target_plane[0] * job.target_plane[1] : 1),
          tiles_((job.count + axis_outputs * job.dilation - 1) / (axis_outputs * job.dilation)) {
        const Index of_tile = inner_ * job.dilation * points_ * own_.small;
        const Index wanted = (tiles_ * of_tile + job.strip - 1) / std::max<Index>(1, job.strip);
        const Index even = wanted <= 1 ? 1 : (wanted + strips_of_round - 1) / strips_of_round * strips_of_round;
        strips_ = std::clamp<Index>(even, 1, tiles_);
    }

    // Where threads would not get as much, each step of a strip is shared among them.
    bool run() {
        const Index tasks = job_.batch * strips_, threads = get_num_threads();
        const auto task = [&](Index n) { strip(n / strips_, tiles_ * (n % strips_) / strips_, tiles_ * (n % strips_ + 1) / strips_); };
        if (tasks % threads == 0 || tasks >= strips_of_round * threads) parallel(tasks, task);
        else for (Index n = 0; n < tasks; ++n) task(n);
        return finite_.load();
    }

private:
    // The tiles [first, last) of an image.
    void strip(Index image, Index first, Index last) {
        static thread_local Scratch<Scalar> row_buffer, cell_buffer, product_buffer, result_buffer;
        if (!finite_.load()) return;
        const Index tiles = last - first, channels = own_.small, outputs = own_.big, taps = points_ - axis_outputs + 1;
        const Index distance = job_.dilation * inner_, target_distance = job_.dilation * target_inner_;
        const Index read = (axis_outputs * (tiles + halo_ - 1) + axis_outputs + taps - 1) * distance;
        const Index from_row = (axis_outputs * first * job_.dilation - job_.before) * inner_;
        const bool there = !job_.source_first && from_row >= 0 && from_row + read <= job_.length * inner_;
        const Room<Scalar> row_room(row_buffer, there ? 0 : read * channels);
        const Scalar* rows = there ? job_.source + (image * job_.length * inner_ + from_row) * channels : row_room.data();
        if (!there) load(image, from_row, read, row_room.data());
        const Room<Scalar> cell_room(cell_buffer, (tiles + halo_) * distance * points_ * channels);
        Scalar* const cells = cell_room.data();
        each(tiles + halo_, [&](Index from, Index to) {
            kernels_.axis_tiles({job_.input, points_, points_, to - from, distance, channels, rows + from * axis_outputs * distance * channels,
                                 axis_outputs * distance * channels, channels, distance * channels, cells + from * distance * points_ * channels,
                                 distance * points_ * channels, points_ * channels, channels});
        });
        Problem p = own_;
        p.batch = planar_ ? tiles : 1;
        if (planar_) {
            p.input = {1, job_.plane[0], job_.plane[1]};
            p.output = {1, job_.target_plane[0], job_.target_plane[1]};
            p.before = {0, job_.crop[0], job_.crop[1]};
        } else if (distance > 1) {
            p.input = {1, tiles + halo_, distance}, p.output = {1, tiles, distance}, p.before = {0, halo_, 0};
        } else {
            p.input = {1, 1, tiles + halo_}, p.output = {1, 1, tiles}, p.before = {0, 0, halo_};
        }
        const Room<Scalar> product_room(product_buffer, tiles * target_distance * points_ * outputs);
        Scalar* const products = product_room.data();
        job_.weights.run(p, dense<const Scalar>(cells, p.input, points_ * channels), {job_.offset, Activation::none},
                         dense(products, p.output, points_ * outputs));
        const Index at = first * axis_outputs * target_distance, whole = job_.count * target_inner_;
        const Index kept = std::min(tiles * axis_outputs * target_distance, whole - at);
        const bool direct = !job_.target_first && kept == tiles * axis_outputs * target_distance;
        Scalar* const target = job_.target + image * whole * outputs;
        const Room<Scalar> result_room(result_buffer, direct ? 0 : tiles * axis_outputs * target_distance * outputs);
        Scalar* const results = direct ? target + at * outputs : result_room.data();
        each(tiles, [&](Index from, Index to) {
            kernels_.axis_tiles({job_.output, points_, axis_outputs, to - from, target_distance, outputs,
                                 products + from * target_distance * points_ * outputs, target_distance * points_ * outputs, points_ * outputs, outputs,
                                 results + from * axis_outputs * target_distance * outputs, axis_outputs * target_distance * outputs, outputs,
                                 target_distance * outputs});
        });
        if (!kernels_.all_finite(results, kept * outputs)) return finite_.store(false);
        if (direct) return;
        if (!job_.target_first) std::copy_n(results, kept * outputs, target + at * outputs);
        else turn(kept, [&](Index n, Index some) { kernels_.transpose(results + n * outputs, outputs, some, outputs, target + at + n, whole, false); });
    }

    // `count` cells of an image from one on, which may lie before it or behind it, where zeros are, as rows of channels.
    void load(Index image, Index from, Index count, Scalar* rows) {
        const Index channels = own_.small, whole = job_.length * inner_;
        const Index low = std::clamp<Index>(-from, 0, count), high = std::clamp<Index>(whole - from, low, count);
        std::fill_n(rows, low * channels, Scalar(0));
        std::fill_n(rows + high * channels, (count - high) * channels, Scalar(0));
        const Scalar* const source = job_.source + image * whole * channels;
        Scalar* const to = rows + low * channels;
        from += low;
        if (!job_.source_first) std::copy_n(source + from * channels, (high - low) * channels, to);
        else turn(high - low, [&](Index n, Index some) { kernels_.transpose(source + from + n, whole, channels, some, to + n * channels, channels, false); });
    }

    // Parts of `count` cells, or tiles, for the threads that have nothing else to do.
    template <typename Work>
    void turn(Index count, const Work& work) {
        parallel((count + cells_at_once - 1) / cells_at_once,
                 [&](Index part) { work(part * cells_at_once, std::min(cells_at_once, count - part * cells_at_once)); });
    }

    template <typename Work>
    void each(Index tiles, const Work& work) {
        const Index parts = std::min<Index>(tiles, strips_of_round);
        parallel(parts, [&](Index part) { work(tiles * part / parts, tiles * (part + 1) / parts); });
    }

    const AxisConvolution<Scalar>& job_;
    const Kernels<Scalar>& kernels_;
    const Problem& own_;
    Index points_;
    bool planar_;
    Index halo_, inner_, target_inner_, tiles_, strips_;
    std::atomic<bool> finite_{true};
};

}  // namespace

template <typename Scalar>
bool run_axis_convolution(const AxisConvolution<Scalar>& job, const Kernels<Scalar>& kernels) {
    return Strips<Scalar>(job, kernels).run();
}

template bool run_axis_convolution<float>(const AxisConvolution<float>&, const Kernels<float>&);

}  // namespace backstride
