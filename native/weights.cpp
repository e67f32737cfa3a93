// One kernel packed for one direction: packing for the sizes that it meets, and running, on tables
// under one lock that is also held over a fork. Numbers that tiles could push to infinity go
// another way: the tables know whether the kernel has such, and each call looks at its source.
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
#include "depthwise_planes.h"
#include "dispatch.h"
#include "results.h"
#include "threads.h"
#include "tuning.h"

namespace backstride {

using namespace tuning::choice;

namespace {

// Copies them on the way, where there is a place to.
template <typename Scalar>
bool all_finite(const Kernels<Scalar>& kernels, const Scalar* x, Index count, Scalar scale, Scalar* copy = nullptr) {
    constexpr Index each = tuning::run::numbers_of_task;
    std::atomic<bool> finite{true};
    parallel(ceil_div(count, each), [&](Index task) {
        const Index own = std::min(each, count - task * each);
        if (copy) std::copy_n(x + task * each, own, copy + task * each);
        if (!kernels.all_finite((copy ? copy : x) + task * each, own, scale)) finite.store(false);
    });
    return finite.load();
}

// Bias and activation of finished sums, in place.
template <typename Scalar>
void finish(const Kernels<Scalar>& kernels, const Epilogue<Scalar>& epilogue, Index count, Index channels,
            Scalar* target) {
    if (!epilogue.bias && epilogue.activation == Activation::none) return;
    const Index panel = kernels.panel_vectors * kernels.lanes;
    std::vector<Scalar> bias(static_cast<std::size_t>(padded(channels, kernels.lanes)), Scalar(0));
    for (Index at = 0; at < count; ++at, target += channels) {
        for (Index c = 0; c < channels; ++c)
            bias[static_cast<std::size_t>(c)] = target[c] + (epilogue.bias ? epilogue.bias[c] : Scalar(0));
        kernels.multiply_rows({
            .row_count = 1,
            .taps = 0,
            .depth = 1,
            .targets = &target,
            .bias = bias.data(),
            .columns = channels,
            .last_panel = ceil_div(channels, panel),
            .activation = epilogue.activation,
        });
    }
}

// Of the tables of all weights, held for a look and never while they are packed: so a fork waits for it, and a signal's
// handler that calls the engine in the midst of a call does not.
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

// An algorithm, its stack, and that of plain products.
struct Chosen {
    Algorithm algorithm;
    Stack stack{1, 1, 1}, plain_stack{1, 1, 1};
};

// Chosen once for kernels of a shape: to weigh algorithms takes longer than small calls do.
template <typename Scalar>
Chosen chosen(const Problem& p, const Kernels<Scalar>& kernels, bool transpose, const Choice& choice) {
    using Key = std::tuple<const Kernels<Scalar>*, bool, Algorithm, bool, Index, Index, Index, Axes, Axes, Axes>;
    static auto* const known = new std::map<Key, Chosen>;
    const Key key{&kernels, transpose, choice.algorithm, choice.winograd, p.groups,
                  p.small,  p.big,     p.kernel,         p.strides,       p.dilation};
    {
        const std::lock_guard<std::mutex> lock(tables());
        if (const auto at = known->find(key); at != known->end()) return at->second;
    }
    const Algorithm algorithm = algorithm_of(p, kernels, transpose, choice);
    Chosen found{.algorithm = algorithm};
    if (transpose && algorithm != Algorithm::phases && !is_depthwise(p)) {
        found.stack = found.plain_stack = choose_stack(p, kernels, false);
        if (algorithm == Algorithm::winograd) found.stack = choose_stack(p, kernels, true);
    }
    const std::lock_guard<std::mutex> lock(tables());
    if (known->size() >= most_kernels) known->clear();
    known->try_emplace(key, found);
    return found;
}

}  // namespace

template <typename Scalar>
Weights<Scalar>::Weights(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const Choice& choice,
                         const Scalar* w, bool borrow)
    : problem_(problem), kernels_(kernels), transpose_(transpose), algorithm_(choice.algorithm), stack_(choice.stack),
      plain_stack_(choice.stack), forced_(choice.algorithm != Algorithm::automatic),
      kernel_size_(cells(problem.kernel) * problem.big * problem.groups * problem.small) {
    if (!borrow) own_.emplace(kernel_size_);
    small_ = all_finite(kernels, w, kernel_size_, scale_of_weights<Scalar>, borrow ? nullptr : own_->data());
    kernel_ = borrow ? w : own_->data();
    finite_ = choice.pairs || small_ || all_finite(kernels, w, kernel_size_, Scalar(1));
    const auto choose = [&](const Choice& by) {
        const Chosen found = chosen(problem, kernels, transpose, by);
        algorithm_ = found.algorithm, stack_ = found.stack, plain_stack_ = found.plain_stack;
    };
    if (!choice.pairs) choose(choice);
    // Numbers so large that transforms could overflow are left to the best of the others.
    if (algorithm_ == Algorithm::winograd && !small_) choose({.winograd = false});
}

template <typename Scalar>
ReusedBuffer<Scalar>::ReusedBuffer(Index count)
    : large_(static_cast<std::size_t>(count) * sizeof(Scalar) >= least_kept) {
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(Scalar);
    data_ = static_cast<Scalar*>(large_ ? take_result(bytes) : ::operator new(bytes, std::align_val_t{64}));
}

template <typename Scalar>
ReusedBuffer<Scalar>::~ReusedBuffer() {
    if (!data_) return;
    if (large_) give_result(data_);
    else ::operator delete(data_, std::align_val_t{64});
}

void prepare_weights() { (void)tables(); }

// Packed weights are made on the first call that needs them, and kept. Threads that need them at the same time each
// make their own; the first ones are kept.
template <typename Scalar>
const Scalar* Weights<Scalar>::remember(const Key& key, Index size, const std::function<void(Scalar*)>& fill) const {
    {
        const std::lock_guard<std::mutex> lock(tables());
        const auto known = packed_.find(key);
        if (known != packed_.end()) return known->second.data();
    }
    ReusedBuffer<Scalar> memory(size);
    fill(memory.data());
    const std::lock_guard<std::mutex> lock(tables());
    return packed_.try_emplace(key, std::move(memory)).first->second.data();
}

template <typename Scalar>
const Scalar* Weights<Scalar>::packed(const Side& side, const std::vector<Sweep>& sweeps,
                                      const std::vector<Forms>& forms) const {
    Index size = 0;
    for (std::size_t n = 0; n < sweeps.size(); ++n) size += packed_size(side, sweeps[n], forms[n], kernels_.lanes);
    return remember({side.transforms_on_the_fly, forms}, size, [&](Scalar* to) {
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
    if (algorithm_ == Algorithm::overlap && finite_ &&
        (forced_ || keeps_products(p) || lines_of_vector * p.input[2] > kernels_.lanes)) {
        const bool transposed = transposes_products(p, kernels_, source);
        const Scalar* ready =
            remember({transposed, std::vector<Forms>(transposed ? 1 : 0)}, overlap_size(p, kernels_.lanes, transposed),
                     [&](Scalar* to) { pack_overlap(p, kernels_, transposed, kernel_, to); });
        return run_overlap(p, kernels_, transposed, ready, source, epilogue, target);
    }
    const bool plain =
        source.is_dense(side.source, side.source_channels) && target.is_dense(side.target, side.target_channels);
    if (plain) return run_dense(p, source.data, epilogue, target.data, alone);
    if (algorithm_ == Algorithm::depthwise && finite_ &&
        run_planes(p, kernels_, transpose_, kernel_, source, epilogue, target))
        return;
    const DenseRun<Scalar> run = [&](const Problem& part, const Scalar* from, Scalar* to, bool one) {
        run_dense(part, from, epilogue, to, one);
    };
    run_boxes(p, kernels_, transpose_, source, target, run);
}

template <typename Scalar>
void Weights<Scalar>::run(const Problem& p, const View<const Half>& source, const Epilogue<Scalar>& epilogue,
                          const View<Half>& target, Storage storage) const {
    if (p.batch == 0 || cells(p.input) == 0 || cells(p.output) == 0) return;
    if constexpr (sizeof(Scalar) == 4)
        if (storage == Storage::bfloat16 && multiplies_matrices()) {
            const MatrixWeights& ready = matrices();
            const Scalar* packed = remember({true, {}}, ceil_div(ready.size(), 2), [&](Scalar* to) {
                ready.pack(kernels_, kernel_, reinterpret_cast<Half*>(to));
            });
            return ready.run(p, kernels_, matrices_of(kernels_), reinterpret_cast<const Half*>(packed), source,
                             epilogue, target);
        }
    const bool paired = storage == Storage::bfloat16 && multiplies_pairs();
    const Weights& weights = paired ? pairs() : *this;
    const DenseRun<Scalar> each = [&](const Problem& part, const Scalar* from, Scalar* to, bool alone) {
        const Side side(part, weights.stack_, transpose_, 1);
        weights.run(part, dense(from, side.source, side.source_channels), epilogue,
                    dense(to, side.target, side.target_channels), alone);
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
        const bool sums = algorithm_ == Algorithm::phases || algorithm_ == Algorithm::stacked ||
                          (algorithm_ == Algorithm::winograd && !forced_);
        return sums && finite_ && pairs_of(kernels_) &&
               !(transpose_ && plain_algorithm() == Algorithm::stacked && has_holes(problem_, plain_stack_));
    }
    return false;
}

// Where the processor has matrix registers: phases of a single group that leave no target cell untouched.
template <typename Scalar>
bool Weights<Scalar>::multiplies_matrices() const {
    if constexpr (sizeof(Scalar) == 4) {
        const bool forced = forced_ && algorithm_ != Algorithm::phases;
        if (forced || !finite_ || problem_.groups > 1 ||
            (transpose_ ? problem_.small : problem_.big) < fewest_matrix_channels || !matrices_of(kernels_))
            return false;
        for (std::size_t axis = 0; axis < 3; ++axis)
            if (problem_.strides[axis] > most_matrix_step || problem_.dilation[axis] > most_matrix_step) return false;
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
Algorithm Weights<Scalar>::plain_algorithm() const {
    return plain_stack_ == Stack{1, 1, 1} ? Algorithm::phases : Algorithm::stacked;
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
            const Index step = transpose_ ? 2 : 1, apart = transpose_ ? 1 : inputs,
                        length = transpose_ ? kernel_size_ / 2 : inputs;
            for (Index row = 0; row < (transpose_ ? 1 : rows / 2); ++row)
                for (Index n = 0; n < length; ++n) {
                    const Half* one = bits.data() + 2 * row * inputs + n * step;
                    const unsigned pair = one[0] | static_cast<unsigned>(one[apart]) << 16;
                    std::memcpy(both.data() + row * inputs + n, &pair, sizeof pair);
                }
            const Choice choice{
                .algorithm = plain_algorithm(), .winograd = false, .pairs = true, .stack = plain_stack_};
            const auto* made = new Weights(halved(problem_), *pairs_of(kernels_), transpose_, choice, both.data());
            const Weights* none = nullptr;
            if (!pairs_.compare_exchange_strong(none, made)) delete made;  // another thread was first
        }
    }
    return *pairs_.load();
}

// All sweeps, or parts of them, and their tiles: chosen once for sizes, as that takes longer than small calls do.
template <typename Scalar>
std::vector<Tiled> Weights<Scalar>::parts(const Problem& p, const Side& side) const {
    std::vector<Tiled> result;
    const std::vector<Sweep> all = sweeps(p, transpose_, stack_, 1);
    if (algorithm_ != Algorithm::winograd) {
        for (const Sweep& sweep : all) result.push_back({.sweep = sweep, .forms = Forms()});
        return result;
    }
    const Sizes sizes{p.batch, p.input, p.output, p.before};
    if (transpose_) {
        const std::lock_guard<std::mutex> lock(tables());
        if (const auto known = chosen_.find(sizes); known != chosen_.end())
            for (std::size_t n = 0; n < all.size(); ++n) result.push_back({.sweep = all[n], .forms = known->second[n]});
    }
    if (!result.empty()) return result;
    for (const Sweep& sweep : all)
        for (Tiled& part : choose_tiles(p, side, sweep, kernels_, forced_)) result.push_back(std::move(part));
    if (transpose_) {
        std::vector<Forms> forms;
        for (const Tiled& part : result) forms.push_back(part.forms);
        const std::lock_guard<std::mutex> lock(tables());
        if (chosen_.size() >= most_sizes) chosen_.clear();
        chosen_.try_emplace(sizes, std::move(forms));
    }
    return result;
}

template <typename Scalar>
void Weights<Scalar>::run_dense(const Problem& p, const Scalar* source, const Epilogue<Scalar>& epilogue,
                                Scalar* target, bool alone) const {
    const Side apart(p, stack_, transpose_, 1);
    std::vector<Sweep> all;
    std::vector<Forms> forms;
    bool tiled = false, fits = true;  // whether numbers are such that tiles, where there are some, may run
    for (const Tiled& part : parts(p, apart)) {
        all.push_back(part.sweep);
        forms.push_back(part.forms);
        tiled = tiled || part.forms.tiled();
    }
    const Index inputs = p.batch * cells(apart.source) * apart.source_channels;
    const bool holes = transpose_ && has_holes(p, plain_stack_);
    if (tiled && !(small_ && all_finite(kernels_, source, inputs, scale_of_numbers<Scalar>))) tiled = fits = false;
    const bool spreads = holes && !tiled && !all_finite(kernels_, source, inputs, Scalar(1));
    const Index merged = tiled ? 1 : merged_taps(p, transpose_);
    const Stack stack = fits ? stack_ : plain_stack_;
    if (!fits || merged > 1) {
        all = sweeps(p, transpose_, stack, merged);
        forms.assign(all.size(), Forms());
    }
    const Side side(p, stack, transpose_, merged, alone && transforms_on_the_fly(p, all, forms));
    if (algorithm_ == Algorithm::definition || !finite_ || spreads) {
        if (transpose_) direct_conv_transpose(p, source, kernel_, target);
        else direct_conv(p, source, kernel_, target);
        finish(kernels_, epilogue, p.batch * cells(side.target), p.groups * (transpose_ ? p.big : p.small), target);
        return;
    }
    const Arrays<Scalar> arrays{
        .kernel = kernel_,
        .packed = packed(side, all, forms),
        .source = source,
        .target = target,
    };
    run_all(DenseCall<Scalar>(p, kernels_, side, all, forms, arrays, epilogue));
}

// Whether the weights of tiles are needed once, for few blocks that would each transform them again.
template <typename Scalar>
bool Weights<Scalar>::transforms_on_the_fly(const Problem& p, const std::vector<Sweep>& sweeps,
                                            const std::vector<Forms>& forms) const {
    if (own_ || !transpose_) return false;
    const Side side(p, stack_, transpose_, 1, true);
    for (std::size_t n = 0; n < sweeps.size(); ++n)
        if (forms[n].tiled() && winograd_blocks_of<Scalar>(p, side, sweeps[n], forms[n]) > most_repeated_transforms)
            return false;
    return true;
}

template class ReusedBuffer<float>;
template class ReusedBuffer<double>;
template class Weights<float>;
template class Weights<double>;

}  // namespace backstride
