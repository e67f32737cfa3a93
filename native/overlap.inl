// Inner loops of `overlap`, cells in the lanes: products of up to 6 taps or output channels with
// neighbouring cells, summed over input channels (lane_product), and kept products summed into
// output cells, phases and channels beside each other (interleave).

// Loaded once: the compiler would read a vector again for each product that it is an operand of.
template <typename Scalar>
[[gnu::always_inline]] inline void keep(Vector<Scalar>& value) {
#if defined(__x86_64__) || defined(__i386__)
    __asm__("" : "+v"(value));
#elif defined(__aarch64__)
    __asm__("" : "+w"(value));
#else
    (void)value;
#endif
}

template <typename Scalar, int Rows, int Vectors>
[[gnu::always_inline]] inline void lane_tile(const LaneProduct<Scalar>& job, Index cell) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> acc[Rows][Vectors] = {};
    // Where nothing is to be fetched, what is in the nearest cache: to ask for a line twice costs more.
    const Scalar* next = job.next_cells ? job.next_cells : job.weights[0];
    const Scalar* also = job.next_apart ? job.next_cells + job.next_apart : nullptr;
    for (Index line = 0; line < job.count; ++line) {
        const Scalar* source = job.lines[line] + cell;
        const Scalar* weights = job.weights[line];
        for (Index c = 0; c < job.depth; ++c) {
            Vector<Scalar> b[Vectors];
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; ++v) {
                b[v] = *reinterpret_cast<const Loose<Scalar>*>(source + v * lanes);
                if constexpr (Rows > 1) keep<Scalar>(b[v]);
            }
#pragma GCC unroll 8
            for (int r = 0; r < Rows; ++r) {
                const Scalar a = weights[r];
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; ++v) acc[r][v] += a * b[v];
            }
            __builtin_prefetch(next, 0, 2);
            next += job.next_step;
            if (also) __builtin_prefetch(also, 0, 2), also += job.next_step;
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
    if constexpr (most > 3)
        for (; v + 3 <= job.vectors; v += 3) lane_tile<Scalar, Rows, 3>(job, v * lanes);
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

// The cells of a vector, each of `Wide` numbers of which `step` count, one after the other: each is stored whole, and
// the next one overwrites what it has too many.
template <typename Scalar, int Width, int Wide>
[[gnu::always_inline]] inline void store_cells(Scalar* to, typename Part<Scalar, Width>::Value value, Index step) {
    if constexpr (Width == Wide) {
        *reinterpret_cast<typename Part<Scalar, Width>::Loose*>(to) = value;
    } else {
        typedef typename Part<Scalar, Width>::Halves Halves;
        store_cells<Scalar, Width / 2, Wide>(to, Part<Scalar, Width>::low(value, Halves{}), step);
        store_cells<Scalar, Width / 2, Wide>(to + Width / 2 / Wide * step, Part<Scalar, Width>::high(value, Halves{}),
                                             step);
    }
}

// Up to `Wide` streams beside each other, by as many rounds of zipping as Wide has bits.
template <typename Scalar, int Wide>
void interleave_few(const Interleave<Scalar>& job) {
    constexpr int lanes = static_cast<int>(Lanes<Scalar>::count);
    Scalar* to = job.to;
    for (Index v = 0; v < job.vectors; ++v) {
        Vector<Scalar> rows[Wide], next[Wide];
#pragma GCC unroll 8
        for (int n = 0; n < Wide; ++n)
            rows[n] = n < job.count ? Vector<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(
                                          job.scratch + (n * job.vectors + v) * lanes))
                                    : Vector<Scalar>{};
#pragma GCC unroll 3
        for (int round = 1; round < Wide; round *= 2) {
#pragma GCC unroll 4
            for (int n = 0; n < Wide / 2; ++n) zip<Scalar>(rows[n], rows[n + Wide / 2], next[2 * n], next[2 * n + 1]);
#pragma GCC unroll 8
            for (int n = 0; n < Wide; ++n) rows[n] = next[n];
        }
#pragma GCC unroll 8
        for (int n = 0; n < Wide; ++n, to += lanes / Wide * job.count)
            store_cells<Scalar, lanes, Wide>(to, rows[n], job.count);
    }
}

// `Vectors` vectors of a stream from a cell on.
template <typename Scalar, int Vectors>
[[gnu::always_inline]] inline void sum_stream(const Interleave<Scalar>& job, const Index* offsets, Index count,
                                              const Scalar* bias, Index cell, Scalar* to) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> sum[Vectors] = {};
    if (bias)
        for (int v = 0; v < Vectors; ++v) sum[v] += *bias;
    for (Index o = 0; o < count; ++o)
        for (Index s = 0; s < job.source_count; ++s) {
            const Scalar* from = job.sources[s] + offsets[o] + cell;
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) sum[v] += *reinterpret_cast<const Loose<Scalar>*>(from + v * lanes);
        }
    for (int v = 0; v < Vectors; ++v)
        *reinterpret_cast<Loose<Scalar>*>(to + cell + v * lanes) = activate<Scalar>(sum[v], job.activation);
}

template <typename Scalar>
void interleave(const Interleave<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Index* offsets = job.offsets;
    const bool direct = job.count == 1;
    for (Index n = 0; n < job.count; ++n) {
        Scalar* to = direct ? job.to : job.scratch + n * job.vectors * lanes;
        const Index count = job.offset_counts[n];
        const Scalar* bias = job.bias ? job.bias + n : nullptr;
        Index v = 0;
        for (; v + 4 <= job.vectors; v += 4) sum_stream<Scalar, 4>(job, offsets, count, bias, v * lanes, to);
        for (; v < job.vectors; ++v) sum_stream<Scalar, 1>(job, offsets, count, bias, v * lanes, to);
        offsets += count;
    }
    if (direct) return;
    if (job.count == 2) {
        for (Index v = 0; v < job.vectors; ++v) {
            Vector<Scalar> first, second;
            zip<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(job.scratch + v * lanes),
                        *reinterpret_cast<const Loose<Scalar>*>(job.scratch + (job.vectors + v) * lanes), first,
                        second);
            *reinterpret_cast<Loose<Scalar>*>(job.to + 2 * v * lanes) = first;
            *reinterpret_cast<Loose<Scalar>*>(job.to + (2 * v + 1) * lanes) = second;
        }
        return;
    }
    if (job.count <= 4 && lanes >= 4) return interleave_few<Scalar, lanes >= 4 ? 4 : 1>(job);
    if (job.count <= 8 && lanes >= 8) return interleave_few<Scalar, lanes >= 8 ? 8 : 1>(job);
    const Index cells = job.vectors * lanes;
    for (Index n = 0; n < job.count; ++n) {
        const Scalar* from = job.scratch + n * cells;
        Scalar* to = job.to + n;
        for (Index cell = 0; cell < cells; ++cell) to[cell * job.count] = from[cell];
    }
}
