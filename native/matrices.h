// Sums of bfloat16 products by matrix registers (AMX), for one group. Cells (batch, *size,
// channels), in any order of axes, are copied with zeros around their map, so that 16 of them lie
// evenly for every tap, and 16 by 16 sums take 32 numbers of each at once. Float sums, in one order
// for any number of threads, rounded once where they are stored. Workspace of a thread: a box of
// source cells, and its results where their channels are not innermost.
#pragma once

#include "dense_call.h"
#include "view.h"

// An assembler may be too old for them, and other systems are not asked.
#if defined(__x86_64__) && defined(__linux__) && !defined(BACKSTRIDE_WITHOUT_AMX)
#define BACKSTRIDE_AMX
#endif

namespace backstride {

constexpr Index matrix_rows = 16;  // and columns

// Row r of tile n is the cell places[n] + r*step numbers behind `source`. Its sums over the pieces of depth, `shifts`
// behind the cell each, times their weights, plus bias, activated, are rounded and written to targets[16*n + r], if
// that is not null.
struct MatrixProduct {
    const Half* source;
    const Index* places;
    Index tiles, step;
    const Index* shifts;
    Index pieces, depth;  // `depth` numbers in each: even, 32 at most
    const Half* weights;  // [columns / 16][pieces][depth / 2][16][2]
    void* const* targets;
    bool wide;                   // whether targets are floats
    const float* bias;           // padded to 16, or null
    Index columns, first, last;  // output channels; tiles of them
    Activation activation;
};

using MultiplyMatrices = void (*)(const MatrixProduct&);

// The weights (*kernel, big, small) of one group of all sweeps, in the order in which products read them.
class MatrixWeights {
public:
    MatrixWeights(const Problem& problem, bool transpose);
    Index size() const { return size_; }  // in numbers of bfloat16
    void pack(const Kernels<float>& kernels, const float* w, Half* to) const;

    // y from x, or x from y, with the sizes, the crop and the batch of `problem`.
    void run(const Problem& problem, const Kernels<float>& kernels, MultiplyMatrices multiply, const Half* packed,
             const View<const Half>& source, const Epilogue<float>& epilogue, const View<Half>& target) const;

private:
    Problem kernel_;
    bool transpose_;
    Index inputs_, columns_;  // channels
    Index padded_, depth_, size_ = 0;
};

}  // namespace backstride
