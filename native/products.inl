// Plain products: a block of rows times panels of packed weights [panel][tap][depth][column],
// rows[tap][row] each a pointer to `depth` numbers. A tile of rows and vectors of columns stays in
// registers for all taps; sums are taken by rising taps and channels, whatever tile a row falls in,
// so the bits of a row do not depend on its neighbours. Results are biased, activated and written
// to targets[row], or saved in scratch and gone on with.

// sum += a * b. With BACKSTRIDE_PAIRS, a and the numbers of b hold two neighbouring channels in bfloat16 each, and both
// products are added.
template <typename Scalar>
[[gnu::always_inline]] inline void multiply_add(Vector<Scalar>& sum, Scalar a, Vector<Scalar> b) {
#ifdef BACKSTRIDE_PAIRS
    sum = (Vector<Scalar>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)b, (__m512bh)_mm512_set1_ps(a));
#else
    sum += a * b;
#endif
}

// Weights that are needed next. The first four tiles ask for them, a quarter each: so they come from slower caches
// while these products run.
template <typename Scalar>
struct NextWeights {
    const Scalar* at;
    const Scalar* end;
};

// acc[r][v] += sum over taps and depth [from, to) of rows[tap][r][c] * weights[tap][c][v]
template <typename Scalar, int Rows, int Vectors>
[[gnu::always_inline]] inline void accumulate(const Block<Scalar>& block, Index row, Index first_tap, Index last_tap,
                                              Index from, Index to, const Scalar* panel,
                                              NextWeights<Scalar>& next_weights, Vector<Scalar> (&acc)[Rows][Vectors]) {
    constexpr Index width = Vectors * Lanes<Scalar>::count;
    constexpr Index size = static_cast<Index>(sizeof(Scalar));
    constexpr Index line = tuning::processor::line_bytes / size, page = tuning::processor::page_bytes / size;
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
        // Asked for with each channel: weights, or else the rows of the next tile, which mostly stand behind each
        // other.
        const Scalar* next = next_weights.at;
        Index step = 0;
        if (next_weights.at < next_weights.end) {
            step = width / 4;
            next_weights.at += step * (to - from);
        } else if (block.streams && row + 2 * Rows <= block.row_count) {
            step = Rows;
            next = block.rows[tap * block.row_stride + row + Rows] + block.source_offset + from;
        }
        for (Index c = from; c < to; ++c) {
            Vector<Scalar> b[Vectors];
            if constexpr (Vectors > 1) {  // other panels are short
                                          // The processor's own prefetching of a stream ends with its page.
#pragma GCC unroll 4
                for (Index n = 0; n < width; n += line) __builtin_prefetch(weights + c * width + page + n, 0, 3);
                __builtin_prefetch(next, 0, 2);
                next += step;
            }
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v)
                b[v] = *reinterpret_cast<const Loose<Scalar>*>(weights + c * width + v * Lanes<Scalar>::count);
#pragma GCC unroll 16
            for (int r = 0; r < Rows; ++r) {
                const Scalar a = source[r][c];
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; ++v) multiply_add<Scalar>(acc[r][v], a, b[v]);
            }
        }
    }
}

// Bias, activation and store of vectors, for the activations that are one instruction; where they are `Partly` whole,
// `last` numbers of the last one count.
template <typename Scalar, int Rows, int Vectors, bool Partly>
[[gnu::always_inline]] inline void finish_whole(const Block<Scalar>& block, Index row, Index column,
                                                Vector<Scalar> (&acc)[Rows][Vectors]) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Index last = block.columns - column - (Vectors - 1) * lanes;
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
    // Before all stores, which could change them for all that the compiler knows.
    const Index rows = block.row_count - row;
    const bool bypasses = block.bypasses;
    Scalar* targets[Rows];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) targets[r] = block.targets[row + (r < rows ? r : 0)] + block.target_offset + column;
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
        if (r >= rows) break;
        Scalar* target = targets[r];
        if constexpr (Partly) {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors - 1; ++v) *reinterpret_cast<Loose<Scalar>*>(target + v * lanes) = acc[r][v];
            store_lowest(target + (Vectors - 1) * lanes, acc[r][Vectors - 1], last);
        } else if (bypasses && Vectors * BACKSTRIDE_BYTES % 64 == 0 && starts_line(target)) {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) store_past_caches<Scalar>(target + v * lanes, acc[r][v]);
        } else {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) *reinterpret_cast<Loose<Scalar>*>(target + v * lanes) = acc[r][v];
        }
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
        return finish_whole<Scalar, Rows, Vectors, false>(block, row, column, acc);
    if constexpr (masks_stores)
        if (block.activation <= Activation::relu)
            return finish_whole<Scalar, Rows, Vectors, true>(block, row, column, acc);
    Vector<Scalar> sums[Rows][Vectors];  // whose address is given away: the sums themselves stay in registers
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) sums[r][v] = acc[r][v];
    finish_partly<Scalar, Rows, Vectors>(block, row, column, sums);
}

// The part [first_tap, last_tap), [from, to) of the sums of some rows, from and to where they are saved in between.
template <typename Scalar, int Rows, int Vectors>
[[gnu::always_inline]] inline void tile_times_panel(const Block<Scalar>& block, Index row, Index column,
                                                    Index first_tap, Index last_tap, Index from, Index to,
                                                    const Scalar* panel, NextWeights<Scalar>& next_weights, bool first,
                                                    bool last) {
    constexpr Index lanes = Lanes<Scalar>::count, width = Vectors * lanes;
    Vector<Scalar> acc[Rows][Vectors];
    Scalar* saved = block.scratch + row * width;
    // Unrolled, so that the sums never leave the registers.
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v)
            acc[r][v] = first ? Vector<Scalar>{}
                              : Vector<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(saved + r * width + v * lanes));
    if (last && block.streams && !block.bypasses)
        for (int r = 0; r < Rows && row + r < block.row_count; ++r)
            for (int v = 0; v < Vectors; ++v)
                __builtin_prefetch(block.targets[row + r] + block.target_offset + column + v * lanes, 1);
    accumulate<Scalar, Rows, Vectors>(block, row, first_tap, last_tap, from, to, panel, next_weights, acc);
    if (last) return finish<Scalar, Rows, Vectors>(block, row, column, acc);
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) *reinterpret_cast<Loose<Scalar>*>(saved + r * width + v * lanes) = acc[r][v];
}

// Few rows take as long as the weights of all of them take to be read: no sums of rows that are not there.
template <typename Scalar, int Rows, int Vectors>
[[gnu::noinline]] void few_times_panel(const Block<Scalar>& block, Index row, Index column, Index first_tap,
                                       Index last_tap, Index from, Index to, const Scalar* panel,
                                       NextWeights<Scalar>& next_weights, bool first, bool last) {
    tile_times_panel<Scalar, Rows, Vectors>(block, row, column, first_tap, last_tap, from, to, panel, next_weights,
                                            first, last);
}

template <typename Scalar, int Vectors>
void panel_times_rows(const Block<Scalar>& block, const Scalar* panel, Index column, const Scalar* behind) {
    using tuning::loops::panel_bytes;
    constexpr int Rows = static_cast<int>(tile_rows(BACKSTRIDE_REGISTERS, Vectors));
    constexpr Index lanes = Lanes<Scalar>::count, width = Vectors * lanes;
    // Pieces of the panel that stay in the cache while all rows pass: whole taps, or parts of the depth of one.
    const Index bytes = block.depth * width * static_cast<Index>(sizeof(Scalar));
    Index taps = block.taps, depth = block.depth;
    if (block.row_count > Rows && bytes * taps > panel_bytes) {
        if (bytes <= panel_bytes) {
            taps = panel_bytes / bytes;
        } else {
            const Index pieces = ceil_div(bytes, panel_bytes);
            taps = 1;
            depth = ceil_div(depth, pieces);
        }
    }
    Index tap = 0, from = 0;
    for (;;) {
        const Index to = from + depth < block.depth ? from + depth : block.depth;
        const Index last_tap = tap + taps < block.taps ? tap + taps : block.taps;
        const bool first = block.begins && tap == 0 && from == 0, done = last_tap == block.taps && to == block.depth;
        const bool last = block.ends && done;
        const Scalar* piece = panel + (tap * block.depth + from) * width;
        const Index size = (last_tap - tap) * (to - from) * width;
        NextWeights<Scalar> next_weights{piece, piece};
        if (behind && block.row_count > Rows)
            next_weights.at = done ? behind : piece + size, next_weights.end = next_weights.at + size;
        for (Index row = 0; row < block.row_count; row += Rows) {
            if constexpr (Vectors == panel_vectors) {
                const Index left = block.row_count - row;
                if (left <= tuning::loops::few_rows) {
                    const auto few = left == 1   ? few_times_panel<Scalar, 1, Vectors>
                                     : left == 2 ? few_times_panel<Scalar, 2, Vectors>
                                                 : few_times_panel<Scalar, 4, Vectors>;
                    few(block, row, column, tap, last_tap, from, to, panel, next_weights, first, last);
                    continue;
                }
            }
            tile_times_panel<Scalar, Rows, Vectors>(block, row, column, tap, last_tap, from, to, panel, next_weights,
                                                    first, last);
        }
        if (done) return;
        from = to < block.depth ? to : 0;
        if (from == 0) tap = last_tap;
    }
}

template <typename Scalar>
void multiply_rows(const Block<Scalar>& block) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index number = block.first_panel; number < block.last_panel; ++number) {
        const Index column = number * panel_vectors * lanes;
        const Index left = ceil_div(block.columns - column, lanes);
        const Scalar* panel = block.weights + block.taps * block.depth * column;
        const Scalar* behind = block.next_weights && number + 1 < block.last_panel
                                   ? panel + block.taps * block.depth * panel_vectors * lanes
                                   : block.next_weights;
        switch (left < panel_vectors ? left : panel_vectors) {
            case 1: panel_times_rows<Scalar, 1>(block, panel, column, behind); break;
            case 2: panel_times_rows<Scalar, 2>(block, panel, column, behind); break;
#if BACKSTRIDE_REGISTERS == 32
            case 3: panel_times_rows<Scalar, 3>(block, panel, column, behind); break;
            case 4: panel_times_rows<Scalar, 4>(block, panel, column, behind); break;
#endif
            default: break;
        }
    }
    if (block.bypasses) settle_stores();
}
