// One generic source, compiled once per instruction set inside its own namespace and target region.
// BACKSTRIDE_BYTES is the width of a vector register, BACKSTRIDE_REGISTERS how many there are. No
// standard library here: an inline function compiled for AVX-512 could be the copy that the linker
// keeps for everybody.

template <typename Scalar>
struct Lanes {
    static constexpr Index count = BACKSTRIDE_BYTES / static_cast<Index>(sizeof(Scalar));
    typedef Scalar Vector __attribute__((vector_size(BACKSTRIDE_BYTES)));
    typedef Scalar Loose __attribute__((vector_size(BACKSTRIDE_BYTES), aligned(alignof(Scalar)), may_alias));
};

template <typename Scalar>
using Vector = typename Lanes<Scalar>::Vector;
template <typename Scalar>
using Loose = typename Lanes<Scalar>::Loose;

// A full panel has 4 vectors where there are 32 registers and 2 where there are 16; a tile has as many
// rows as leave registers for one row of weights: 6x4, 8x3, 12x2 of 32; 6x2 of 16.
constexpr Index panel_vectors = BACKSTRIDE_REGISTERS / 8;
constexpr int tile_rows(int vectors) {
    return vectors == 1 ? (BACKSTRIDE_REGISTERS == 32 ? 14 : 8) : (BACKSTRIDE_REGISTERS - BACKSTRIDE_REGISTERS / 4) / vectors;
}
constexpr Index weights_in_cache = 320 * 1024;  // bytes of one panel kept in the second-level cache

inline double activated(double x, Activation activation) {
    switch (activation) {
        case Activation::sigmoid: return 1 / (1 + __builtin_exp(-x));
        case Activation::tanh: return __builtin_tanh(x);
        case Activation::gelu: return x * 0.5 * (1 + __builtin_erf(x * 0.70710678118654752440));
        case Activation::silu: return x / (1 + __builtin_exp(-x));
        default: return x;
    }
}

template <typename Scalar>
inline Vector<Scalar> some(const Scalar* from, Index count) {
    Vector<Scalar> value{};
    if (count >= Lanes<Scalar>::count) return *reinterpret_cast<const Loose<Scalar>*>(from);
    for (Index i = 0; i < count; ++i) value[i] = from[i];
    return value;
}

template <typename Scalar>
[[gnu::always_inline]] inline void store_some(Scalar* to, Vector<Scalar> value, Index count) {
    if (count >= Lanes<Scalar>::count) {
        *reinterpret_cast<Loose<Scalar>*>(to) = value;
    } else {
        for (Index i = 0; i < count; ++i) to[i] = value[i];
    }
}

// e**x: x = n log 2 + r, a Taylor polynomial of r, and n added to the exponent in two steps.
typedef double Wide __attribute__((vector_size(BACKSTRIDE_BYTES)));
typedef long long WideBits __attribute__((vector_size(BACKSTRIDE_BYTES)));

inline Wide exponential(Wide x) {
    x = x < -1000.0 ? Wide{} - 1000.0 : (x > 1000.0 ? Wide{} + 1000.0 : x);
    constexpr double shift = 6755399441055744.0;  // 1.5 * 2**52: its last bits are integers
    const Wide shifted = x * 1.4426950408889634 + shift, n = shifted - shift;
    const Wide r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
    Wide sum = Wide{} + 1.0 / 39916800;
    constexpr double factors[] = {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0};
#pragma GCC unroll 11
    for (int i = 0; i < 11; ++i) sum = sum * r + factors[i];
    const WideBits power = (WideBits)shifted - (WideBits)(Wide{} + shift), half = power >> 1;
    return sum * (Wide)((half + 1023) << 52) * (Wide)((power - half + 1023) << 52);
}

// Half of the complementary error function of -x / sqrt(2), by the Chebyshev fit of Press et al., Numerical Recipes,
// section 6.2: relative error below 1.2e-7 everywhere.
inline Wide normal_share(Wide x) {
    const Wide z = (x < 0.0 ? -x : x) * 0.70710678118654752440, t = 1.0 / (1.0 + 0.5 * z);
    Wide sum = Wide{} + 0.17087277;
    constexpr double factors[] = {-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368, -1.26551223};
#pragma GCC unroll 9
    for (int i = 0; i < 9; ++i) sum = sum * t + factors[i];
    const Wide tail = 0.5 * t * exponential(sum - z * z);
    return x < 0.0 ? tail : 1.0 - tail;
}

inline Wide activated(Wide x, Activation activation) {
    switch (activation) {
        case Activation::sigmoid: return 1.0 / (1.0 + exponential(-x));
        case Activation::silu: return x / (1.0 + exponential(-x));
        case Activation::gelu: return x * normal_share(x);
        case Activation::tanh: {
            const Wide magnitude = x < 0.0 ? -x : x, decay = exponential(-2.0 * magnitude);
            const Wide large = (1.0 - decay) / (1.0 + decay), small = magnitude - magnitude * magnitude * magnitude * (1.0 / 3);
            const Wide result = magnitude < 1e-3 ? small : large;
            return x < 0.0 ? -result : result;
        }
        default: return x;
    }
}

// The smooth ones: single precision through double, which rounds once; double precision by the C library.
[[gnu::noinline]] inline Vector<float> activated_lanes(Vector<float> x, Activation activation) {
    typedef float Half __attribute__((vector_size(BACKSTRIDE_BYTES / 2), may_alias));
    Vector<float> result;
    for (int half = 0; half < 2; ++half) {
        const Wide part = __builtin_convertvector(reinterpret_cast<const Half*>(&x)[half], Wide);
        reinterpret_cast<Half*>(&result)[half] = __builtin_convertvector(activated(part, activation), Half);
    }
    return result;
}

[[gnu::noinline]] inline Vector<double> activated_lanes(Vector<double> x, Activation activation) {
    for (Index i = 0; i < Lanes<double>::count; ++i) x[i] = activated(x[i], activation);
    return x;
}

template <typename Scalar>
[[gnu::always_inline]] inline Vector<Scalar> activate(Vector<Scalar> x, Activation activation) {
    switch (activation) {
        case Activation::none: return x;
        case Activation::relu: return x < Scalar(0) ? Vector<Scalar>{} : x;
        case Activation::relu6: return x < Scalar(0) ? Vector<Scalar>{} : (x > Scalar(6) ? Vector<Scalar>{} + Scalar(6) : x);
        case Activation::leaky_relu: return x < Scalar(0) ? x * Scalar(0.01) : x;
        default: return activated_lanes(x, activation);
    }
}

// acc[r][v] += sum over taps and depth [from, to) of rows[tap][r][c] * weights[tap][c][v]
template <typename Scalar, int Rows, int Vectors>
[[gnu::always_inline]] inline void accumulate(const Block<Scalar>& block, Index row, Index first_tap, Index last_tap, Index from,
                                              Index to, const Scalar* panel, Vector<Scalar> (&acc)[Rows][Vectors]) {
    constexpr Index width = Vectors * Lanes<Scalar>::count;
    constexpr Index line = 64 / static_cast<Index>(sizeof(Scalar));
    for (Index tap = first_tap; tap < last_tap; ++tap) {
        const Scalar* source[Rows];
        bool meets = false;
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r) {
            source[r] = block.rows[tap * block.row_stride + row + r];
            meets |= source[r] != block.zero;
            source[r] += block.source_offset;
        }
        if (!meets) continue;
        const Scalar* weights = panel + tap * block.depth * width;
        const auto run = [&](Index start, Index end) __attribute__((always_inline)) {
            for (Index c = start; c < end; ++c) {
                Vector<Scalar> b[Vectors];
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; ++v)
                    b[v] = *reinterpret_cast<const Loose<Scalar>*>(weights + c * width + v * Lanes<Scalar>::count);
#pragma GCC unroll 16
                for (int r = 0; r < Rows; ++r) {
                    const Scalar a = source[r][c];
#pragma GCC unroll 4
                    for (int v = 0; v < Vectors; ++v) acc[r][v] += a * b[v];
                }
            }
        };
        if (!block.streams) {
            run(from, to);
            continue;
        }
        // Rows are too short for the hardware to see the next ones coming.
        const Scalar* const* next = block.rows + tap * block.row_stride + (row + 2 * Rows <= block.row_count ? row + Rows : row);
        for (Index start = from; start < to; start += line) {
#pragma GCC unroll 16
            for (int r = 0; r < Rows; ++r) __builtin_prefetch(next[r] + block.source_offset + start, 0, 2);
            run(start, start + line < to ? start + line : to);
        }
    }
}

// Bias, activation and store of whole vectors, for the activations that are one instruction.
template <typename Scalar, int Rows, int Vectors>
[[gnu::always_inline]] inline void finish_whole(const Block<Scalar>& block, Index row, Index column,
                                                Vector<Scalar> (&acc)[Rows][Vectors]) {
    constexpr Index lanes = Lanes<Scalar>::count;
    if (block.bias) {
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
            const Vector<Scalar> bias = *reinterpret_cast<const Loose<Scalar>*>(block.bias + column + v * lanes);
#pragma GCC unroll 16
            for (int r = 0; r < Rows; ++r) acc[r][v] += bias;
        }
    }
    if (block.activation == Activation::relu) {
#pragma GCC unroll 16
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) acc[r][v] = acc[r][v] < Scalar(0) ? Vector<Scalar>{} : acc[r][v];
    }
    const Index rows = block.row_count - row;
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
        if (r >= rows) break;
        Scalar* target = block.targets[row + r] + block.target_offset + column;
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) *reinterpret_cast<Loose<Scalar>*>(target + v * lanes) = acc[r][v];
    }
}

// The same for the last vectors of a row, and for every activation.
template <typename Scalar, int Rows, int Vectors>
[[gnu::noinline]] void finish_partly(const Block<Scalar>& block, Index row, Index column,
                                     const Vector<Scalar> (&acc)[Rows][Vectors]) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Index left = block.columns - column;
    for (int r = 0; r < Rows && row + r < block.row_count; ++r) {
        Scalar* target = block.targets[row + r] + block.target_offset + column;
        for (int v = 0; v < Vectors; ++v) {
            Vector<Scalar> value = acc[r][v];
            if (block.bias) value += *reinterpret_cast<const Loose<Scalar>*>(block.bias + column + v * lanes);
            store_some<Scalar>(target + v * lanes, activate<Scalar>(value, block.activation), left - v * lanes);
        }
    }
}

template <typename Scalar, int Rows, int Vectors>
[[gnu::always_inline]] inline void finish(const Block<Scalar>& block, Index row, Index column,
                                          Vector<Scalar> (&acc)[Rows][Vectors]) {
    if (block.columns - column >= Vectors * Lanes<Scalar>::count && block.activation <= Activation::relu)
        finish_whole<Scalar, Rows, Vectors>(block, row, column, acc);
    else
        finish_partly<Scalar, Rows, Vectors>(block, row, column, acc);
}

template <typename Scalar, int Vectors>
void panel_times_rows(const Block<Scalar>& block, const Scalar* panel, Index column) {
    constexpr int Rows = tile_rows(Vectors);
    constexpr Index lanes = Lanes<Scalar>::count, width = Vectors * lanes;
    // Pieces of the panel that stay in the cache while all rows pass: whole taps, or parts of the depth of one.
    const Index bytes = block.depth * width * static_cast<Index>(sizeof(Scalar));
    Index taps = block.taps, depth = block.depth;
    if (block.row_count > Rows && bytes * taps > weights_in_cache) {
        if (bytes <= weights_in_cache) {
            taps = weights_in_cache / bytes;
        } else {
            const Index pieces = (bytes + weights_in_cache - 1) / weights_in_cache;
            taps = 1;
            depth = (depth + pieces - 1) / pieces;
        }
    }
    Index tap = 0, from = 0;
    for (;;) {
        const Index to = from + depth < block.depth ? from + depth : block.depth;
        const Index last_tap = tap + taps < block.taps ? tap + taps : block.taps;
        const bool first = tap == 0 && from == 0, last = last_tap == block.taps && to == block.depth;
        for (Index row = 0; row < block.row_count; row += Rows) {
            Vector<Scalar> acc[Rows][Vectors] = {};
            Scalar* saved = block.scratch + row * width;
            if (!first)
                for (int r = 0; r < Rows; ++r)
                    for (int v = 0; v < Vectors; ++v)
                        acc[r][v] = *reinterpret_cast<const Loose<Scalar>*>(saved + r * width + v * lanes);
            if (last && block.streams)
                for (int r = 0; r < Rows && row + r < block.row_count; ++r)
                    for (int v = 0; v < Vectors; ++v) __builtin_prefetch(block.targets[row + r] + block.target_offset + column + v * lanes, 1);
            accumulate<Scalar, Rows, Vectors>(block, row, tap, last_tap, from, to, panel, acc);
            if (last) {
                finish<Scalar, Rows, Vectors>(block, row, column, acc);
            } else {
                for (int r = 0; r < Rows; ++r)
                    for (int v = 0; v < Vectors; ++v)
                        *reinterpret_cast<Loose<Scalar>*>(saved + r * width + v * lanes) = acc[r][v];
            }
        }
        if (last) return;
        from = to < block.depth ? to : 0;
        if (from == 0) tap = last_tap;
    }
}

template <typename Scalar>
void gather(const Block<Scalar>& block) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index number = block.first_panel; number < block.last_panel; ++number) {
        const Index column = number * panel_vectors * lanes;
        const Index left = (block.columns - column + lanes - 1) / lanes;
        const Scalar* panel = block.weights + block.taps * block.depth * column;
        switch (left < panel_vectors ? left : panel_vectors) {
            case 1: panel_times_rows<Scalar, 1>(block, panel, column); break;
            case 2: panel_times_rows<Scalar, 2>(block, panel, column); break;
#if BACKSTRIDE_REGISTERS == 32
            case 3: panel_times_rows<Scalar, 3>(block, panel, column); break;
            case 4: panel_times_rows<Scalar, 4>(block, panel, column); break;
#endif
            default: break;
        }
    }
}

// Cells that meet a tap together share its weights.
template <typename Scalar, int Cells, int Vectors, bool Whole>
[[gnu::always_inline]] inline void depthwise_cells(const DepthwiseLine<Scalar>& job, Index cell) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> acc[Cells][Vectors] = {};
    for (Index tap = 0; tap < job.taps; ++tap) {
        const Scalar* source = job.sources[tap] + cell * job.source_step;
        const Scalar* weights = job.weights[tap];
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
            const Vector<Scalar> b = *reinterpret_cast<const Loose<Scalar>*>(weights + v * lanes);
#pragma GCC unroll 4
            for (int n = 0; n < Cells; ++n)
                acc[n][v] += (Whole ? Vector<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(source + n * job.source_step + v * lanes))
                                    : some(source + n * job.source_step + v * lanes, job.columns - v * lanes)) * b;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
        Vector<Scalar> bias{};
        if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + v * lanes);
#pragma GCC unroll 4
        for (int n = 0; n < Cells; ++n) {
            Scalar* to = job.target + (cell + n) * job.target_step + v * lanes;
            const Vector<Scalar> value = activate<Scalar>(acc[n][v] + bias, job.activation);
            if (Whole) *reinterpret_cast<Loose<Scalar>*>(to) = value;
            else store_some<Scalar>(to, value, job.columns - v * lanes);
        }
    }
}

template <typename Scalar, int Vectors, bool Whole>
void depthwise_vectors(const DepthwiseLine<Scalar>& job) {
    constexpr int Cells = BACKSTRIDE_REGISTERS == 32 ? 4 : 2;
    Index cell = 0;
    for (; cell + Cells <= job.count; cell += Cells) depthwise_cells<Scalar, Cells, Vectors, Whole>(job, cell);
    for (; cell < job.count; ++cell) depthwise_cells<Scalar, 1, Vectors, Whole>(job, cell);
}

template <typename Scalar>
void depthwise_line(const DepthwiseLine<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    if (job.columns == panel_vectors * lanes) return depthwise_vectors<Scalar, panel_vectors, true>(job);
    switch ((job.columns + lanes - 1) / lanes) {
        case 1: return depthwise_vectors<Scalar, 1, false>(job);
        case 2: return depthwise_vectors<Scalar, 2, false>(job);
#if BACKSTRIDE_REGISTERS == 32
        case 3: return depthwise_vectors<Scalar, 3, false>(job);
        case 4: return depthwise_vectors<Scalar, 4, false>(job);
#endif
        default: return;
    }
}

template <typename Scalar, int Rows, int Vectors, bool Whole>
inline void correlate_tile(const Correlation<Scalar>& job, Index row, Index column) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Index left = job.columns - column;
    Vector<Scalar> acc[Rows][Vectors] = {};
    for (Index number = 0; number < job.run_count; ++number) {
        const Scalar* large = job.large + job.runs[number].large + row;
        const Scalar* small = job.small + job.runs[number].small + column;
        for (Index cell = 0; cell < job.runs[number].count; ++cell) {
            Vector<Scalar> b[Vectors];
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v)
                b[v] = Whole ? Vector<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(small + v * lanes))
                             : some(small + v * lanes, left - v * lanes);
#pragma GCC unroll 16
            for (int r = 0; r < Rows; ++r) {
                const Scalar a = large[r];
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; ++v) acc[r][v] += a * b[v];
            }
            large += job.large_step;
            small += job.small_step;
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
            Scalar* to = job.weights + (row + r) * job.weights_stride + column + v * lanes;
            if (Whole) {
                *reinterpret_cast<Loose<Scalar>*>(to) += acc[r][v];
            } else {
                for (Index i = 0; i < lanes && v * lanes + i < left; ++i) to[i] += acc[r][v][i];
            }
        }
}

template <typename Scalar, int Vectors, bool Whole>
void correlate_panel(const Correlation<Scalar>& job, Index column) {
    constexpr int Rows = BACKSTRIDE_REGISTERS == 32 ? 6 : 4;
    Index row = 0;
    for (; row + Rows <= job.rows; row += Rows) correlate_tile<Scalar, Rows, Vectors, Whole>(job, row, column);
    for (; row + 2 <= job.rows; row += 2) correlate_tile<Scalar, 2, Vectors, Whole>(job, row, column);
    for (; row < job.rows; ++row) correlate_tile<Scalar, 1, Vectors, Whole>(job, row, column);
}

template <typename Scalar>
void correlate(const Correlation<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Index column = 0;
    for (; column + panel_vectors * lanes <= job.columns; column += panel_vectors * lanes)
        correlate_panel<Scalar, panel_vectors, true>(job, column);
    for (; column + lanes <= job.columns; column += lanes) correlate_panel<Scalar, 1, true>(job, column);
    if (column < job.columns) correlate_panel<Scalar, 1, false>(job, column);
}

// Lavin & Gray, arXiv 1509.09308, with the interpolation points 0, 1 and infinity (3 planes), and -1 too (4 planes):
// these input and output transforms have no entries but 0, 1 and -1.
template <typename Scalar, int Planes>
[[gnu::always_inline]] inline void tile_input_axis(Vector<Scalar>* d, int step) {
    if constexpr (Planes == 3) {
        d[0] -= d[step];
        d[2 * step] -= d[step];
    } else if constexpr (Planes == 4) {
        const Vector<Scalar> one = d[step], two = d[2 * step];
        d[0] -= two;
        d[3 * step] -= one;
        d[step] = one + two;
        d[2 * step] = two - one;
    }
}

template <typename Scalar, int Outputs, int Planes>
[[gnu::always_inline]] inline void tile_output_axis(Vector<Scalar>* m, int step) {
    if constexpr (Planes == 3) {
        m[0] += m[step];
        m[step] += m[2 * step];
    } else if constexpr (Planes == 4) {
        const Vector<Scalar> even = m[step] + m[2 * step], odd = m[step] - m[2 * step];
        m[0] += even;
        if constexpr (Outputs == 3) {
            m[step] = odd;
            m[2 * step] = even + m[3 * step];
        } else {
            m[step] = odd + m[3 * step];
        }
    }
}

template <typename Scalar, int Lines, int Columns>
void tile_input_planes(const TileInput<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    constexpr int count = Lines * Columns;
    for (Index tile = 0; tile < job.tiles; ++tile) {
        const Scalar* const* cells = job.cells + tile * count;
        Scalar* to = job.planes + tile * job.tile_stride;
        for (Index c = 0; c < job.depth; c += lanes) {
            Vector<Scalar> d[count];
            const Index left = job.depth - c;
            if (left >= lanes) {
#pragma GCC unroll 16
                for (int n = 0; n < count; ++n) d[n] = *reinterpret_cast<const Loose<Scalar>*>(cells[n] + job.source_offset + c);
            } else {
                for (int n = 0; n < count; ++n) d[n] = some(cells[n] + job.source_offset + c, left);
            }
#pragma GCC unroll 4
            for (int n = 0; n < Columns; ++n) tile_input_axis<Scalar, Lines>(d + n, Columns);
#pragma GCC unroll 4
            for (int n = 0; n < Lines; ++n) tile_input_axis<Scalar, Columns>(d + n * Columns, 1);
#pragma GCC unroll 16
            for (int n = 0; n < count; ++n) *reinterpret_cast<Loose<Scalar>*>(to + n * job.plane_stride + c) = d[n];
        }
    }
}

template <typename Scalar>
void tile_input(const TileInput<Scalar>& job) {
    switch (job.lines.planes() * 8 + job.columns.planes()) {
        case 8 + 3: return tile_input_planes<Scalar, 1, 3>(job);
        case 8 + 4: return tile_input_planes<Scalar, 1, 4>(job);
        case 24 + 1: return tile_input_planes<Scalar, 3, 1>(job);
        case 24 + 3: return tile_input_planes<Scalar, 3, 3>(job);
        case 24 + 4: return tile_input_planes<Scalar, 3, 4>(job);
        case 32 + 1: return tile_input_planes<Scalar, 4, 1>(job);
        case 32 + 3: return tile_input_planes<Scalar, 4, 3>(job);
        case 32 + 4: return tile_input_planes<Scalar, 4, 4>(job);
        default: return;
    }
}

template <typename Scalar, int LineOutputs, int Lines, int ColumnOutputs, int Columns>
void tile_output_planes(const TileOutput<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    constexpr int outputs = LineOutputs * ColumnOutputs;
    const Index left = job.columns - job.column;
    for (Index tile = 0; tile < job.tiles; ++tile) {
        Scalar* const* targets = job.targets + tile * outputs;
        for (Index v = 0; v * lanes < left && v < panel_vectors; ++v) {
            const Scalar* from = job.planes + tile * job.tile_stride + v * lanes;
            Vector<Scalar> m[Lines * Columns];
#pragma GCC unroll 16
            for (int n = 0; n < Lines * Columns; ++n) m[n] = *reinterpret_cast<const Loose<Scalar>*>(from + n * job.plane_stride);
#pragma GCC unroll 4
            for (int n = 0; n < Columns; ++n) tile_output_axis<Scalar, LineOutputs, Lines>(m + n, Columns);
#pragma GCC unroll 4
            for (int n = 0; n < LineOutputs; ++n) tile_output_axis<Scalar, ColumnOutputs, Columns>(m + n * Columns, 1);
            Vector<Scalar> bias{};
            if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + job.column + v * lanes);
#pragma GCC unroll 4
            for (int line = 0; line < LineOutputs; ++line)
#pragma GCC unroll 4
                for (int cell = 0; cell < ColumnOutputs; ++cell) {
                    Scalar* target = targets[line * ColumnOutputs + cell];
                    if (!target) continue;
                    store_some<Scalar>(target + job.target_offset + job.column + v * lanes, activate<Scalar>(m[line * Columns + cell] + bias, job.activation),
                               left - v * lanes);
                }
        }
    }
}

template <typename Scalar>
void tile_output(const TileOutput<Scalar>& job) {
    const Form &a = job.lines, &b = job.columns_form;
    switch (((a.outputs * 8 + a.planes()) * 8 + b.outputs) * 8 + b.planes()) {
#define BACKSTRIDE_FORMS(a, b, c, d) \
    case (((a) * 8 + (b)) * 8 + (c)) * 8 + (d): return tile_output_planes<Scalar, a, b, c, d>(job)
#define BACKSTRIDE_LINES(a, b)   \
    BACKSTRIDE_FORMS(a, b, 1, 1); \
    BACKSTRIDE_FORMS(a, b, 2, 3); \
    BACKSTRIDE_FORMS(a, b, 3, 4); \
    BACKSTRIDE_FORMS(a, b, 2, 4)
        BACKSTRIDE_LINES(1, 1);
        BACKSTRIDE_LINES(2, 3);
        BACKSTRIDE_LINES(3, 4);
        BACKSTRIDE_LINES(2, 4);
#undef BACKSTRIDE_LINES
#undef BACKSTRIDE_FORMS
        default: return;
    }
}

template <int... numbers>
struct Numbers {};
template <int count, int... numbers>
struct Counted : Counted<count - 1, count - 1, numbers...> {};
template <int... numbers>
struct Counted<0, numbers...> {
    typedef Numbers<numbers...> Type;
};

// The lanes of a and b in turn: the first half of both, or the second.
template <typename Scalar, int start, int... lane>
[[gnu::always_inline]] inline Vector<Scalar> zipped(Vector<Scalar> a, Vector<Scalar> b, Numbers<lane...>) {
    return __builtin_shufflevector(a, b, (start + lane / 2 + lane % 2 * static_cast<int>(sizeof...(lane)))...);
}

template <typename Scalar>
[[gnu::always_inline]] inline void zip(Vector<Scalar> a, Vector<Scalar> b, Vector<Scalar>& first, Vector<Scalar>& second) {
    constexpr int lanes = static_cast<int>(Lanes<Scalar>::count);
    typedef typename Counted<lanes>::Type All;
    first = zipped<Scalar, 0>(a, b, All{});
    second = zipped<Scalar, lanes / 2>(a, b, All{});
}

// Depthwise: weights[c] += sum over cells of large[c] * small[c].
template <typename Scalar, int Vectors>
inline void correlate_channels(const Correlation<Scalar>& job, Index column) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> acc[2][Vectors] = {};
    for (Index number = 0; number < job.run_count; ++number) {
        const Scalar* large = job.large + job.runs[number].large + column;
        const Scalar* small = job.small + job.runs[number].small + column;
        for (Index cell = 0; cell < job.runs[number].count; ++cell) {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v)
                acc[0][v] += *reinterpret_cast<const Loose<Scalar>*>(large + v * lanes) *
                                    *reinterpret_cast<const Loose<Scalar>*>(small + v * lanes);
            large += job.large_step;
            small += job.small_step;
        }
    }
    for (int v = 0; v < Vectors; ++v) *reinterpret_cast<Loose<Scalar>*>(job.weights + column + v * lanes) += acc[0][v] + acc[1][v];
}

template <typename Scalar>
void correlate_depthwise(const Correlation<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Index column = 0;
    for (; column + 4 * lanes <= job.columns; column += 4 * lanes) correlate_channels<Scalar, 4>(job, column);
    for (; column + lanes <= job.columns; column += lanes) correlate_channels<Scalar, 1>(job, column);
    for (; column < job.columns; ++column)
        for (Index number = 0; number < job.run_count; ++number) {
            const Scalar* large = job.large + job.runs[number].large + column;
            const Scalar* small = job.small + job.runs[number].small + column;
            Scalar sum = 0;
            for (Index cell = 0; cell < job.runs[number].count; ++cell) sum += large[cell * job.large_step] * small[cell * job.small_step];
            job.weights[column] += sum;
        }
}

// As many rounds of zipping the halves as a number of lanes has bits turn rows into columns.
template <typename Scalar, int round>
[[gnu::always_inline]] inline void transpose_square(Vector<Scalar> (&rows)[Lanes<Scalar>::count]) {
    constexpr int lanes = static_cast<int>(Lanes<Scalar>::count);
    Vector<Scalar> next[lanes];
#pragma GCC unroll 16
    for (int n = 0; n < lanes / 2; ++n) zip<Scalar>(rows[n], rows[n + lanes / 2], next[2 * n], next[2 * n + 1]);
#pragma GCC unroll 16
    for (int n = 0; n < lanes; ++n) rows[n] = next[n];
    if constexpr (2 * round < lanes) transpose_square<Scalar, 2 * round>(rows);
}

template <typename Scalar>
void transpose(const Scalar* from, Index step, Index rows, Index columns, Scalar* to, Index pitch, bool pad) {
    constexpr Index lanes = Lanes<Scalar>::count;
    // The last block of rows or columns may repeat some of those before.
    for (Index next_row = 0; next_row < rows; next_row += lanes) {
        const Index row = !pad && next_row + lanes > rows && rows >= lanes ? rows - lanes : next_row;
        const Index height = pad || rows - row > lanes ? lanes : rows - row;
        for (Index next = 0; next < columns; next += lanes) {
            const Index column = next + lanes > columns && columns >= lanes ? columns - lanes : next;
            Vector<Scalar> block[lanes];
            const Scalar* source = from + row * step + column;
            const Index count = columns - column < lanes ? columns - column : lanes;
            if (rows - row >= lanes && count == lanes) {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n) block[n] = *reinterpret_cast<const Loose<Scalar>*>(source + n * step);
            } else {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n)
                    block[n] = row + n < rows ? some(source + n * step, count) : Vector<Scalar>{};
            }
            transpose_square<Scalar, 1>(block);
            Scalar* target = to + column * pitch + row;
            if (height == lanes) {
#pragma GCC unroll 16
                for (int n = 0; n < lanes; ++n)
                    if (n < count) *reinterpret_cast<Loose<Scalar>*>(target + n * pitch) = block[n];
            } else {
                for (Index n = 0; n < count; ++n) store_some<Scalar>(target + n * pitch, block[n], height);
            }
        }
    }
}

template <typename Scalar>
void copy_lines(const Scalar* from, Index step, Index lines, Index count, Scalar* to, Index pitch) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index line = 0; line < lines; ++line, from += step, to += pitch) {
        Index n = 0;
        for (; n + lanes <= count; n += lanes) *reinterpret_cast<Loose<Scalar>*>(to + n) = *reinterpret_cast<const Loose<Scalar>*>(from + n);
        if (n < count) *reinterpret_cast<Loose<Scalar>*>(to + n) = some(from + n, count - n);
    }
}

template <typename Scalar, int Rows, int Vectors>
[[gnu::always_inline]] inline void lane_tile(const LaneProduct<Scalar>& job, Index cell) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> acc[Rows][Vectors] = {};
    for (Index line = 0; line < job.count; ++line) {
        const Scalar* source = job.lines[line] + cell;
        const Scalar* weights = job.weights[line];
        for (Index c = 0; c < job.depth; ++c) {
            Vector<Scalar> b[Vectors];
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; ++v) b[v] = *reinterpret_cast<const Loose<Scalar>*>(source + v * lanes);
#pragma GCC unroll 8
            for (int r = 0; r < Rows; ++r) {
                const Scalar a = weights[r];
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; ++v) acc[r][v] += a * b[v];
            }
            source += job.pitch;
            weights += Rows;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v)
            *reinterpret_cast<Loose<Scalar>*>(job.sums + r * job.sums_pitch + cell + v * lanes) = acc[r][v];
}

template <typename Scalar, int Rows>
void lane_rows(const LaneProduct<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    constexpr int most = (BACKSTRIDE_REGISTERS - 2) / (Rows + 1) < 8 ? (BACKSTRIDE_REGISTERS - 2) / (Rows + 1) : 8;
    Index v = 0;
    for (; v + most <= job.vectors; v += most) lane_tile<Scalar, Rows, most>(job, v * lanes);
    if constexpr (most > 4)
        for (; v + 4 <= job.vectors; v += 4) lane_tile<Scalar, Rows, 4>(job, v * lanes);
    if constexpr (most > 2)
        for (; v + 2 <= job.vectors; v += 2) lane_tile<Scalar, Rows, 2>(job, v * lanes);
    for (; v < job.vectors; ++v) lane_tile<Scalar, Rows, 1>(job, v * lanes);
}

template <typename Scalar>
void lane_product(const LaneProduct<Scalar>& job) {
    switch (job.rows) {
        case 1: return lane_rows<Scalar, 1>(job);
        case 2: return lane_rows<Scalar, 2>(job);
        case 3: return lane_rows<Scalar, 3>(job);
        case 4: return lane_rows<Scalar, 4>(job);
        case 5: return lane_rows<Scalar, 5>(job);
        case 6: return lane_rows<Scalar, 6>(job);
        default: return;
    }
}

template <typename Scalar>
void interleave(const Interleave<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Scalar* const* terms = job.terms;
    const bool direct = job.count == 1;
    for (Index n = 0; n < job.count; ++n) {
        Scalar* to = direct ? job.to : job.scratch + n * job.vectors * lanes;
        const Index count = job.term_counts[n];
        for (Index v = 0; v < job.vectors; ++v) {
            Vector<Scalar> sum{};
            if (job.bias) sum += job.bias[n];
            for (Index t = 0; t < count; ++t) sum += *reinterpret_cast<const Loose<Scalar>*>(terms[t] + v * lanes);
            *reinterpret_cast<Loose<Scalar>*>(to + v * lanes) = activate<Scalar>(sum, job.activation);
        }
        terms += count;
    }
    if (direct) return;
    if (job.count == 2) {
        for (Index v = 0; v < job.vectors; ++v) {
            Vector<Scalar> first, second;
            zip<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(job.scratch + v * lanes),
                        *reinterpret_cast<const Loose<Scalar>*>(job.scratch + (job.vectors + v) * lanes), first, second);
            *reinterpret_cast<Loose<Scalar>*>(job.to + 2 * v * lanes) = first;
            *reinterpret_cast<Loose<Scalar>*>(job.to + (2 * v + 1) * lanes) = second;
        }
        return;
    }
    const Index cells = job.vectors * lanes;
    for (Index n = 0; n < job.count; ++n) {
        const Scalar* from = job.scratch + n * cells;
        Scalar* to = job.to + n;
        for (Index cell = 0; cell < cells; ++cell) to[cell * job.count] = from[cell];
    }
}

// x * 0 is 0, or NaN where x is not finite.
template <typename Scalar>
bool all_finite(const Scalar* x, Index count) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> sums[4] = {};
    Index i = 0;
    for (; i + 4 * lanes <= count; i += 4 * lanes)
        for (int n = 0; n < 4; ++n) sums[n] += *reinterpret_cast<const Loose<Scalar>*>(x + i + n * lanes) * Scalar(0);
    Scalar sum = 0;
    for (; i < count; ++i) sum += x[i] * Scalar(0);
    const Vector<Scalar> all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (Index lane = 0; lane < lanes; ++lane) sum += all[lane];
    return sum == 0;
}

template <typename Scalar>
constexpr Kernels<Scalar> kernels(const char* name) {
    return {name, Lanes<Scalar>::count, panel_vectors, tile_rows(1), gather<Scalar>,
            depthwise_line<Scalar>, correlate<Scalar>, correlate_depthwise<Scalar>,
            transpose<Scalar>, copy_lines<Scalar>, lane_product<Scalar>, interleave<Scalar>, all_finite<Scalar>, tile_input<Scalar>, tile_output<Scalar>};
}
