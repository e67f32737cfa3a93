// A kernel packed for one direction, and the products that run with it: y (batch, *output,
// groups*big) from x (batch, *input, groups*small), or x from y, in any order of axes, three
// spatial axes. Any number of threads may run with one of them. Workspace of a thread: one box and
// one block of rows or tiles, under 8 MiB.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "choose.h"
#include "correlate.h"
#include "dense_call.h"
#include "direct.h"
#include "matrices.h"
#include "overlap.h"

namespace backstride {

// Packed weights; the large ones in memory that earlier ones left behind.
template <typename Scalar>
class ReusedBuffer {
public:
    explicit ReusedBuffer(Index count);
    ReusedBuffer(ReusedBuffer&& other) noexcept : data_(other.data_), large_(other.large_) { other.data_ = nullptr; }
    ReusedBuffer& operator=(ReusedBuffer&&) = delete;
    ~ReusedBuffer();
    Scalar* data() const { return data_; }

private:
    Scalar* data_;
    bool large_;
};

template <typename Scalar>
class Weights {
public:
    // w is (*kernel, big, groups*small); it is copied, or borrowed for as long as these weights live. The sizes and the
    // batch in `problem` do not matter.
    Weights(const Problem& problem, const Kernels<Scalar>& kernels, bool transpose, const Choice& choice,
            const Scalar* w, bool borrow = false);

    ~Weights() { delete pairs_.load(), delete matrices_.load(); }

    // The one that runs: the loops of the definition where the kernel holds NaN or infinity.
    Algorithm algorithm() const { return finite_ ? algorithm_ : Algorithm::definition; }

    // How half precision is computed: as single is, but bfloat16 in matrix registers or by products of pairs where the
    // processor has them.
    Algorithm algorithm(Storage storage) const {
        if (storage == Storage::bfloat16 && multiplies_matrices()) return Algorithm::phases;
        return storage == Storage::bfloat16 && multiplies_pairs() ? plain_algorithm() : algorithm();
    }
    const Problem& problem() const { return problem_; }
    bool small() const { return small_; }
    bool forced() const { return forced_; }  // whether the algorithm was asked for

    // y from x, or x from y where made for conv: `problem` has the sizes, the crop and the batch. `alone`: there is no
    // other call with these weights.
    void run(const Problem& problem, const View<const Scalar>& source, const Epilogue<Scalar>& epilogue,
             const View<Scalar>& target, bool alone = true) const;

    // The same for half precision in memory.
    void run(const Problem& problem, const View<const Half>& source, const Epilogue<Scalar>& epilogue,
             const View<Half>& target, Storage storage) const;

private:
    Problem halved(Problem p) const;
    bool multiplies_pairs() const;
    bool multiplies_matrices() const;
    const MatrixWeights& matrices() const;
    Algorithm plain_algorithm() const;  // products without tiles
    const Weights& pairs() const;
    void run_dense(const Problem& problem, const Scalar* source, const Epilogue<Scalar>& epilogue, Scalar* target,
                   bool alone) const;

    using Sizes = std::tuple<Index, Axes, Axes, Axes>;  // batch, input, output, crop
    using Key = std::pair<bool, std::vector<Forms>>;    // whether tiles are left out
    const Scalar* remember(const Key& key, Index size, const std::function<void(Scalar*)>& fill) const;
    std::vector<Tiled> parts(const Problem& problem, const Side& side) const;
    bool transforms_on_the_fly(const Problem& problem, const std::vector<Sweep>& sweeps,
                               const std::vector<Forms>& forms) const;
    const Scalar* packed(const Side& side, const std::vector<Sweep>& sweeps, const std::vector<Forms>& forms) const;

    Problem problem_;
    const Kernels<Scalar>& kernels_;
    bool transpose_;
    Algorithm algorithm_;
    Stack stack_, plain_stack_;  // the latter of products without tiles
    bool forced_;
    Index kernel_size_;
    std::optional<ReusedBuffer<Scalar>> own_;
    const Scalar* kernel_;
    bool finite_, small_;  // `small_`: as tiles take them
    mutable std::map<Key, ReusedBuffer<Scalar>> packed_;
    mutable std::map<Sizes, std::vector<Forms>> chosen_;  // of transposed convolutions, whose sweeps run in one part
    mutable std::atomic<const Weights*> pairs_{nullptr};
    mutable std::atomic<const MatrixWeights*> matrices_{nullptr};
};

// What is made once for the process is made here, rather than while another thread forks.
void prepare_weights();

}  // namespace backstride
