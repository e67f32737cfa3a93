// What a problem costs: cycles of its products, of waiting for weights, of transforms and of what
// does not depend on the depth, for plain products and for every form of Winograd tiles. Choices
// that change bits use the nominal rates of the instruction set, so that they follow from layer,
// sizes and instruction set alone; what is shown uses measured ones.
#pragma once

#include "dense_call.h"

namespace backstride {

// What a processor does in a cycle, and how many bytes lie how near.
struct Rates {
    double multiply_adds, loads;                 // of a vector
    double second, third, memory;                // bytes from the caches of these levels, and from memory
    double first_size, second_size, third_size;  // bytes
};

// What processors of an instruction set have in common, by the bytes of its vectors.
Rates nominal_rates(Index vector_bytes);

// Cycles of one thread for a whole call.
struct Cost {
    double products = 0;    // multiply-adds, those of padded vectors and rows included
    double steps = 0;       // what comes for each tap, tile of rows, and block
    double weights = 0;     // waiting for weights
    double transforms = 0;  // of tiles, in and out
    double data = 0;        // waiting for sources and results
    double total() const { return products + steps + weights + transforms + data; }
    Cost& operator+=(const Cost& other);
    Cost operator*(double factor) const;
};

// How the tiles of a sweep are cut into blocks: their rows, and the depth of a term that is transformed at once.
struct Cut {
    Index rows, depth;
};

template <typename Scalar>
Cut cut_of_tiles(const Problem& problem, const Side& side, const Sweep& sweep, const Forms& forms);

// Tiles of a sweep in all images.
Index tiles_of(const Problem& problem, const Sweep& sweep, const Forms& forms);

// A sweep whose weights are stored, of vectors of `lanes` numbers, a panel of `panel_vectors` at once; F(1,1) runs as
// rows.
template <typename Scalar>
Cost cost_of(const Problem& problem, const Side& side, const Sweep& sweep, const Terms& terms, const Forms& forms,
             const Kernels<Scalar>& kernels, const Rates& rates);

// Few output channels, cells in the lanes; and each channel a group of its own.
template <typename Scalar>
Cost cost_of_overlap(const Problem& problem, const Kernels<Scalar>& kernels, const Rates& rates);
template <typename Scalar>
Cost cost_of_depthwise(const Problem& problem, const Kernels<Scalar>& kernels, const Rates& rates);

// Cycles of waiting for sources and results, beside so many of computing.
double data_cycles(const Problem& problem, double size, double computing, const Rates& rates);

// Cycles of a convolution's sweep, whose weights are packed or transformed on the way, once for each block of tiles.
template <typename Scalar>
double convolution_cycles(const Problem& problem, const Side& side, const Sweep& sweep, const Terms& terms,
                          const Forms& forms, const Kernels<Scalar>& kernels);

}  // namespace backstride
