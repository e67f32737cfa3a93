// One kernel packed for one direction: which algorithm runs, packing for the sizes that it meets, running. Longer than other
// files: all three read and write the same tables, under one lock that is also held over a fork.
#include "weights.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include "boxes.h"
#include "dispatch.h"
#include "planes.h"
#include "results.h"
#include "threads.h"

namespace backstride {
namespace {

// Copies them on the way, where there is a place to.
template <typename Scalar>
bool all_finite(const Kernels<Scalar>& kernels, const Scalar* x, Index count, Scalar scale, Scalar* copy = nullptr) {
    constexpr Index each = 1 << 16;
    std::atomic<bool> finite{true};
    parallel((count + each - 1) / each, [&](Index task) {
        const Index own = std::min(each, count - task * each);
        if (copy) std::copy_n(x + task * each, own, copy + task * each);
        if (!kernels.all_finite((copy ? copy : x) + task * each, own, scale)) finite.store(false);
    });
    return finite.load();
}

// What a target cell without taps holds.
template <typename Scalar>
std::vector<Scalar> untouched(const Pass<Scalar>& pass) {
    const Side& side = pass.side;
    std::vector<Scalar> cell(static_cast<std::size_t>(side.target_channels)), scratch(static_cast<std::size_t>(64 * pass.panel_width()));
    const Index panels = (side.channels + pass.panel_width() - 1) / pass.panel_width();
    Scalar* target = cell.data();
    for (Index group = 0; group < side.groups; ++group)
        pass.kernels.gather({nullptr, 0, 1, 0, side.depth, 0, group * side.channels, pass.zeros.data(), &target, nullptr,
             pass.bias_of(group), side.channels, 0, panels, pass.activation, scratch.data()});
    return cell;
}

// The same in every cell.
template <typename Scalar>
void fill(const Pass<Scalar>& pass) {
    const Side& side = pass.side;
    const std::vector<Scalar> cell = untouched(pass);
    const Index count = pass.problem.batch * cells(side.target);
    const Index each = std::max<Index>(1, 65536 / side.target_channels);
    parallel((count + each - 1) / each, [&](Index task) {
        for (Index at = task * each; at < std::min(count, (task + 1) * each); ++at)
            std::copy(cell.begin(), cell.end(), pass.target + at * side.target_channels);
    });
}

// Whether some target cells meet no tap at all, as with strides larger than the kernel.
bool has_gaps(const Side& side, const std::vector<Sweep>& sweeps) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
        if (side.stack[axis] > 1) continue;
        std::vector<Index> starts;
        for (const Sweep& sweep : sweeps) starts.push_back(sweep.axes[axis].start);
        std::sort(starts.begin(), starts.end());
        const auto distinct = std::unique(starts.begin(), starts.end()) - starts.begin();
        if (distinct < sweeps.front().axes[axis].stride) return true;
    }
    return false;
}

// Cells of an inner axis that no tap takes to the other side, but for those between neighbouring taps: tiles leave rounding
// errors of their neighbours in them.
std::vector<Index> unreached(const Problem& p, std::size_t axis, bool transpose) {
    const Index stride = p.strides[axis], before = p.before[axis], reach = (p.kernel[axis] - 1) * p.dilation[axis];
    const Index size = (transpose ? p.output : p.input)[axis], other = (transpose ? p.input : p.output)[axis];
    const auto reached = [&](Index cell) {
        if (p.dilation[axis] == 1) {  // the taps of a cell lie `stride` apart, or beside each other
            const Index at = transpose ? (cell + before) / stride : cell * stride - before, first = transpose ? (cell + before) % stride : 0;
            if (transpose && (cell + before < 0 || first > reach)) return false;
            const Index most = transpose ? (reach - first) / stride : reach;
            return transpose ? std::max<Index>(0, at - other + 1) <= std::min(most, at) : std::max<Index>(0, -at) <= std::min(most, other - 1 - at);
        }
        for (Index tap = 0; tap < p.kernel[axis]; ++tap) {
            const Index shift = tap * p.dilation[axis] - before, at = transpose ? cell - shift : cell * stride + shift;
            if (at >= 0 && (!transpose || at % stride == 0) && (transpose ? at / stride : at) < other) return true;
        }
        return false;
    };
    // From `low` to `high`, cells have all their taps.
    const Index low = std::clamp<Index>(transpose ? reach - before : (before + stride - 1) / stride, 0, size);
    const Index last = transpose ? (other - 1) * stride - before : floor_divided(other - 1 + before - reach, stride);
    const Index high = std::clamp<Index>(last + 1, low, size);
    std::vector<Index> found;
    for (Index cell = 0; cell < size; ++cell) {
        if (cell == low) cell = high;
        if (cell < size && !reached(cell)) found.push_back(cell);
    }
    return found;
}

// Makes them exact.
template <typename Scalar>
void settle(const Pass<Scalar>& pass) {
    const Side& side = pass.side;
    const std::vector<Index> lines = unreached(pass.problem, 1, side.transpose), columns = unreached(pass.problem, 2, side.transpose);
    if (lines.empty() && columns.empty()) return;
    const std::vector<Scalar> cell = untouched(pass);
    const auto set = [&](Index line, Index column) {
        std::copy(cell.begin(), cell.end(), pass.target + (line * side.target[2] + column) * side.target_channels);
    };
    parallel(pass.problem.batch * side.target[0], [&](Index plane) {
        for (const Index line : lines)
            for (Index column = 0; column < side.target[2]; ++column) set(plane * side.target[1] + line, column);
        for (Index line = 0; line < side.target[1]; ++line)
            for (const Index column : columns) set(plane * side.target[1] + line, column);
    });
}

template <typename Scalar>
void run_all(const Pass<Scalar>& pass) {
    if (has_gaps(pass.side, pass.sweeps)) fill(pass);
    const Index count = pass.side.depthwise ? 1 : static_cast<Index>(pass.sweeps.size()), panels = pass.panels(), groups = pass.side.groups;
    std::vector<Index> blocks;
    Index total = 0, most = 0;
    double products = 0;
    for (const Sweep& sweep : pass.sweeps) products += static_cast<double>(sweep.taps() * sweep.cells());
    products *= static_cast<double>(pass.problem.batch * pass.side.depth) * static_cast<double>(pass.side.columns * groups);
    for (Index n = 0; n < count; ++n) {
        const auto at = static_cast<std::size_t>(n);
        const bool tiled = pass.forms[at].tiled();
        blocks.push_back(pass.side.depthwise ? line_blocks(pass)
                         : tiled             ? tile_blocks(pass, pass.sweeps[at], pass.forms[at])
                                             : row_blocks(pass, pass.sweeps[at]));
        most = std::max(most, blocks.back());
        total += blocks.back();
    }
    constexpr double products_of_piece = 1 << 19;  // fewer cost less than to meet in the middle of a cell
    const auto worth = static_cast<Index>(std::min(products / products_of_piece, 1e9));
    const Index wanted = std::min<Index>(4 * get_num_threads() / std::max<Index>(1, total * groups), worth);
    const Index pieces = get_num_threads() == 1 ? 1 : std::clamp<Index>(wanted, 1, panels);
    const Index each = (panels + pieces - 1) / pieces;
    parallel(most * count * groups * pieces, [&](Index task) {
        const Index piece = task % pieces, sweep = task / pieces % count;
        const Index group = task / pieces / count % groups, block = task / pieces / count / groups;
        if (block >= blocks[static_cast<std::size_t>(sweep)]) return;
        const Index first = piece * each, last = std::min(panels, first + each);
        if (first >= last) return;
        const bool tiled = pass.forms[static_cast<std::size_t>(sweep)].tiled();
        const auto run = pass.side.depthwise ? run_lines<Scalar> : tiled ? run_tiles<Scalar> : run_rows<Scalar>;
        run(pass, sweep, block, group, first, last);
    });
    if (std::any_of(pass.forms.begin(), pass.forms.end(), [](const Forms& forms) { return forms.tiled(); })) settle(pass);
}

// Bias and activation of finished sums, in place.
template <typename Scalar>
void finish(const Kernels<Scalar>& kernels, const Epilogue<Scalar>& epilogue, Index count, Index channels, Scalar* target) {
    if (!epilogue.bias && epilogue.activation == Activation::none) return;
    const Index panel = kernels.panel_vectors * kernels.lanes;
    std::vector<Scalar> bias(static_cast<std::size_t>(padded(channels, kernels.lanes)), Scalar(0));
    for (Index at = 0; at < count; ++at, target += channels) {
        for (Index c = 0; c < channels; ++c) bias[static_cast<std::size_t>(c)] = target[c] + (epilogue.bias ? epilogue.bias[c] : Scalar(0));
        kernels.gather({nullptr, 0, 1, 0, 1, 0, 0, nullptr, &target, nullptr, bias.data(), channels, 0,
                           (channels + panel - 1) / panel, epilogue.activation, nullptr});
    }
}

}  // namespace

template <typename Scalar>
Weights<Scalar>::Weights(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const Choice& choice,
                         const Scalar* w, bool borrow)
    : problem_(problem), kernels_(kernels), transpose_(transpose),
      algorithm_(algorithm_of(problem, kernels, transpose, choice)), stack_(choose_stack(problem, kernels.lanes, transpose)),
      forced_(choice.algorithm != Algorithm::automatic),
      kernel_size_(cells(problem.kernel) * problem.big * problem.groups * problem.small) {
    if (!borrow) own_.emplace(kernel_size_);
    small_ = all_finite(kernels, w, kernel_size_, scale_of_weights<Scalar>, borrow ? nullptr : own_->data());
    kernel_ = borrow ? w : own_->data();
    finite_ = choice.pairs || small_ || all_finite(kernels, w, kernel_size_, Scalar(1));
    if (algorithm_ == Algorithm::phases) stack_ = {1, 1, 1};
}

template <typename Scalar>
Kept<Scalar>::Kept(Index count) : large_(static_cast<std::size_t>(count) * sizeof(Scalar) >= least_kept) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(Scalar);
    data_ = static_cast<Scalar*>(large_ ? take_result(bytes) : ::operator new(bytes, std::align_val_t{64}));
}

template <typename Scalar>
Kept<Scalar>::~Kept() {
    if (!data_) return;
    if (large_) give_result(data_);
    else ::operator delete(data_, std::align_val_t{64});
}

namespace {

// Of the tables of all weights, held for a look and never while they are packed: so a fork waits for it, and a signal's handler
// that calls the engine in the midst of a call does not.
std::mutex& tables() {
    static std::mutex* const all = [] {
        auto* made = new std::mutex;
#if defined(__unix__) || defined(__APPLE__)
        pthread_atfork([] { tables().lock(); }, [] { tables().unlock(); }, [] { tables().unlock(); });
#endif
        return made;
    }();
    return *all;
}

}  // namespace

void prepare_weights() { (void)tables(); }

// Packed weights are made on the first call that needs them, and kept. Threads that need them at the same time each make
// their own; the first ones are kept.
template <typename Scalar>
const Scalar* Weights<Scalar>::remember(const Key& key, Index size, const std::function<void(Scalar*)>& fill) const {
    {
        const std::lock_guard<std::mutex> lock(tables());
        const auto known = packed_.find(key);
        if (known != packed_.end()) return known->second.data();
    }
    Kept<Scalar> memory(size);
    fill(memory.data());
    const std::lock_guard<std::mutex> lock(tables());
    return packed_.try_emplace(key, std::move(memory)).first->second.data();
}

template <typename Scalar>
const Scalar* Weights<Scalar>::packed(const Side& side, const std::vector<Sweep>& sweeps, const std::vector<Forms>& forms) const {
    Index size = 0;
    for (std::size_t n = 0; n < sweeps.size(); ++n) size += packed_size(side, sweeps[n], forms[n], kernels_.lanes);
    return remember({side.passing, forms}, size, [&](Scalar* to) {
        if (side.depthwise) return pack_depthwise(problem_, kernels_.lanes, kernel_, to);
        for (std::size_t n = 0; n < sweeps.size(); ++n) {
            pack(problem_, side, sweeps[n], forms[n], kernels_, kernel_, to);
            to += packed_size(side, sweeps[n], forms[n], kernels_.lanes);
        }
    });
}

template <typename Scalar>
void Weights<Scalar>::run(const Problem& p, const View<const Scalar>& source, const Epilogue<Scalar>& epilogue,
                          const View<Scalar>& target, bool alone) const {
    if (p.batch == 0 || cells(p.input) == 0 || cells(p.output) == 0) return;
    const Side side(p, stack_, transpose_, 1);
    if (algorithm_ == Algorithm::overlap && finite_ && (forced_ || keeps_products(p) || p.input[2] >= kernels_.lanes)) {
        const bool turned = turns_products(p, kernels_, source);
        const Scalar* ready = remember({turned, std::vector<Forms>(turned ? 1 : 0)}, overlap_size(p, kernels_.lanes, turned), [&](Scalar* to) { pack_overlap(p, kernels_, turned, kernel_, to); });
        return run_overlap(p, kernels_, turned, ready, source, epilogue, target);
    }
    const bool plain = source.is_dense(side.source, side.source_channels) && target.is_dense(side.target, side.target_channels);
    if (plain) return run_dense(p, source.data, epilogue, target.data, alone);
    if (algorithm_ == Algorithm::depthwise && finite_ && run_planes(p, kernels_, transpose_, kernel_, source, epilogue, target)) return;
    const DenseRun<Scalar> run = [&](const Problem& part, const Scalar* from, Scalar* to, bool one) { run_dense(part, from, epilogue, to, one); };
    run_boxes(p, kernels_, transpose_, source, target, run);
}

template <typename Scalar>
void Weights<Scalar>::run(const Problem& p, const View<const Half>& source, const Epilogue<Scalar>& epilogue,
                          const View<Half>& target, Storage storage) const {
    if (p.batch == 0 || cells(p.input) == 0 || cells(p.output) == 0) return;
    if constexpr (sizeof(Scalar) == 4)
        if (storage == Storage::bfloat16 && multiplies_matrices()) {
            const MatrixWeights& ready = matrices();
            const Scalar* packed = remember({true, {}}, (ready.size() + 1) / 2, [&](Scalar* to) { ready.pack(kernels_, kernel_, reinterpret_cast<Half*>(to)); });
            return ready.run(p, kernels_, matrices_of(kernels_), reinterpret_cast<const Half*>(packed), source, epilogue, target);
        }
    const bool paired = storage == Storage::bfloat16 && multiplies_pairs();
    const Weights& weights = paired ? pairs() : *this;
    const DenseRun<Scalar> each = [&](const Problem& part, const Scalar* from, Scalar* to, bool alone) {
        const Side side(part, weights.stack_, transpose_, 1);
        weights.run(part, dense(from, side.source, side.source_channels), epilogue, dense(to, side.target, side.target_channels), alone);
    };
    run_boxes(paired ? halved(p) : p, kernels_, transpose_, source, target, each, paired ? Storage::pairs : storage);
}

// The same with a pair of source channels in the place of each.
template <typename Scalar>
Problem Weights<Scalar>::halved(Problem p) const {
    (transpose_ ? p.small : p.big) /= 2;
    return p;
}

// Where pairs of channels are products of the processor, and neighbouring cells do not lend each other zeros, which an
// infinity would meet.
template <typename Scalar>
bool Weights<Scalar>::multiplies_pairs() const {
    if constexpr (sizeof(Scalar) == 4) {
        const Index channels = transpose_ ? problem_.small : problem_.big;
        if (channels % 2 || is_depthwise(halved(problem_))) return false;
        const bool sums = algorithm_ == Algorithm::phases || algorithm_ == Algorithm::stacked || (algorithm_ == Algorithm::winograd && !forced_);
        return sums && finite_ && pairs_of(kernels_) &&
               !(transpose_ && pairs_algorithm() == Algorithm::stacked && has_holes(problem_, stack_));
    }
    return false;
}

// Where the processor has matrix registers: phases of a single group that leave no target cell untouched.
template <typename Scalar>
bool Weights<Scalar>::multiplies_matrices() const {
    if constexpr (sizeof(Scalar) == 4) {
        constexpr Index most_step = 1 << 16, fewest_channels = 8;
        const bool forced = forced_ && algorithm_ != Algorithm::phases;
        if (forced || !finite_ || problem_.groups > 1 || (transpose_ ? problem_.small : problem_.big) < fewest_channels || !matrices_of(kernels_)) return false;
        for (std::size_t axis = 0; axis < 3; ++axis)
            if (problem_.strides[axis] > most_step || problem_.dilation[axis] > most_step) return false;
        return !transpose_ || !has_gaps(Side(problem_, {1, 1, 1}, true, 1), sweeps(problem_, true, {1, 1, 1}, 1));
    }
    return false;
}

template <typename Scalar>
const MatrixWeights& Weights<Scalar>::matrices() const {
    if (!matrices_.load()) {
        const auto* made = new MatrixWeights(problem_, transpose_);
        const MatrixWeights* none = nullptr;
        if (!matrices_.compare_exchange_strong(none, made)) delete made;  // another thread was first
    }
    return *matrices_.load();
}

template <typename Scalar>
Algorithm Weights<Scalar>::pairs_algorithm() const {
    return stack_ == Stack{1, 1, 1} ? Algorithm::phases : Algorithm::stacked;
}

template <typename Scalar>
const Weights<Scalar>& Weights<Scalar>::pairs() const {
    if constexpr (sizeof(Scalar) == 4) {
        if (!pairs_.load()) {
            const Index inputs = problem_.groups * problem_.small, rows = kernel_size_ / inputs;
            std::vector<Half> bits(static_cast<std::size_t>(kernel_size_));
            kernels_.narrow(kernel_, kernel_size_, bits.data(), Storage::bfloat16);
            std::vector<Scalar> both(static_cast<std::size_t>(kernel_size_ / 2));
            // Neighbours lie beside each other, or a row of small channels apart.
            const Index step = transpose_ ? 2 : 1, apart = transpose_ ? 1 : inputs, length = transpose_ ? kernel_size_ / 2 : inputs;
            for (Index row = 0; row < (transpose_ ? 1 : rows / 2); ++row)
                for (Index n = 0; n < length; ++n) {
                    const Half* one = bits.data() + 2 * row * inputs + n * step;
                    const unsigned pair = one[0] | static_cast<unsigned>(one[apart]) << 16;
                    std::memcpy(both.data() + row * inputs + n, &pair, sizeof pair);
                }
            const auto* made = new Weights(halved(problem_), *pairs_of(kernels_), transpose_, Choice{pairs_algorithm(), false, true}, both.data());
            const Weights* none = nullptr;
            if (!pairs_.compare_exchange_strong(none, made)) delete made;  // another thread was first
        }
    }
    return *pairs_.load();
}

template <typename Scalar>
void Weights<Scalar>::run_dense(const Problem& p, const Scalar* source, const Epilogue<Scalar>& epilogue, Scalar* target, bool alone) const {
    const Side apart(p, stack_, transpose_, 1);
    std::vector<Sweep> all;
    std::vector<Forms> forms;
    bool tiled = false, fits = true;  // whether numbers are such that tiles, where there are some, may run
    for (const Sweep& sweep : sweeps(p, transpose_, stack_, 1)) {
        const bool may = algorithm_ == Algorithm::winograd;
        for (const Tiled& part : may ? choose_tiles(p, apart, sweep, kernels_, forced_) : std::vector<Tiled>{{sweep, Forms()}}) {
            all.push_back(part.sweep);
            forms.push_back(part.forms);
            tiled = tiled || part.forms.tiled();
        }
    }
    const Index inputs = p.batch * cells(apart.source) * apart.source_channels;
    const bool holes = transpose_ && has_holes(p, stack_);
    if (tiled && !(small_ && all_finite(kernels_, source, inputs, scale_of_numbers<Scalar>))) tiled = fits = false;
    const bool spreads = holes && !tiled && !all_finite(kernels_, source, inputs, Scalar(1));
    const Index merged = tiled ? 1 : merged_taps(p, transpose_);
    if (!fits || merged > 1) {
        all = sweeps(p, transpose_, stack_, merged);
        forms.assign(all.size(), Forms());
    }
    const Side side(p, stack_, transpose_, merged, alone && passes(p, all, forms));
    if (algorithm_ == Algorithm::definition || !finite_ || spreads) {
        if (transpose_) direct_conv_transpose(p, source, kernel_, target);
        else direct_conv(p, source, kernel_, target);
        finish(kernels_, epilogue, p.batch * cells(side.target), p.groups * (transpose_ ? p.big : p.small), target);
        return;
    }
    run_all(Pass<Scalar>(p, kernels_, side, all, forms, kernel_, packed(side, all, forms), source, epilogue, target));
}

// Whether the weights of tiles are needed once, for few blocks that would each transform them again.
template <typename Scalar>
bool Weights<Scalar>::passes(const Problem& p, const std::vector<Sweep>& sweeps, const std::vector<Forms>& forms) const {
    constexpr Index most_blocks = 2;
    if (own_ || !transpose_) return false;
    const Side side(p, stack_, transpose_, 1, true);
    for (std::size_t n = 0; n < sweeps.size(); ++n)
        if (forms[n].tiled() && tile_blocks_of<Scalar>(p, side, sweeps[n], forms[n]) > most_blocks) return false;
    return true;
}

template class Kept<float>;
template class Kept<double>;
template class Weights<float>;
template class Weights<double>;

}  // namespace backstride
