// Inner loops of depthwise planes, cells in the lanes: a line of cells in its streams, one stream
// for each place in a stride, and up to four target lines that read the same source lines. Whole
// vectors are read and written; the last ones of a line as far as it goes.

// The numbers of `Count` vectors, one of each after the other: the perfect shuffle, one bit of the place after the
// other.
template <typename Scalar, int Count>
[[gnu::always_inline]] inline void shuffle(Vector<Scalar> (&rows)[Count]) {
#pragma GCC unroll 3
    for (int round = 1; round < Count; round *= 2) {
        Vector<Scalar> next[Count];
#pragma GCC unroll 4
        for (int n = 0; n < Count / 2; ++n) zip<Scalar>(rows[n], rows[n + Count / 2], next[2 * n], next[2 * n + 1]);
#pragma GCC unroll 8
        for (int n = 0; n < Count; ++n) rows[n] = next[n];
    }
}

// The lanes of two vectors that follow each other: those at even places, or at odd ones.
template <typename Scalar, int start, int... lane>
[[gnu::always_inline]] inline Vector<Scalar> every_second(Vector<Scalar> a, Vector<Scalar> b, Numbers<lane...>) {
    return __builtin_shufflevector(a, b, (start + 2 * lane)...);
}

// Its inverse: vector n gets every number whose place leaves n.
template <typename Scalar, int Count>
[[gnu::always_inline]] inline void part(Vector<Scalar> (&rows)[Count]) {
    typedef typename Counted<static_cast<int>(Lanes<Scalar>::count)>::Type All;
#pragma GCC unroll 3
    for (int round = 1; round < Count; round *= 2) {
        Vector<Scalar> next[Count];
#pragma GCC unroll 4
        for (int n = 0; n < Count / 2; ++n) {
            next[n] = every_second<Scalar, 0>(rows[2 * n], rows[2 * n + 1], All{});
            next[n + Count / 2] = every_second<Scalar, 1>(rows[2 * n], rows[2 * n + 1], All{});
        }
#pragma GCC unroll 8
        for (int n = 0; n < Count; ++n) rows[n] = next[n];
    }
}

template <typename Scalar, int Streams>
void part_vectors(const PartLine<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Vector<Scalar> zero{};
    for (int n = 0; n < Streams; ++n)
        for (Index at = 0; at < job.left; at += lanes)
            *reinterpret_cast<Loose<Scalar>*>(job.to + n * job.pitch + at) = zero;
    Index at = job.left;
    for (Index first = 0; first < job.count; first += Streams * lanes, at += lanes) {
        Vector<Scalar> rows[Streams];
        if (first + Streams * lanes <= job.count) {
#pragma GCC unroll 8
            for (int n = 0; n < Streams; ++n) {
                rows[n] = *reinterpret_cast<const Loose<Scalar>*>(job.from + first + n * lanes);
                __builtin_prefetch(job.from + first + n * lanes + job.ahead, 0, 2);
            }
        } else {
            for (int n = 0; n < Streams; ++n)
                rows[n] = some(job.from + first + n * lanes, job.count - first - n * lanes);
        }
        part<Scalar, Streams>(rows);
#pragma GCC unroll 8
        for (int n = 0; n < Streams; ++n) *reinterpret_cast<Loose<Scalar>*>(job.to + n * job.pitch + at) = rows[n];
    }
    for (; at < job.total; at += lanes)
        for (int n = 0; n < Streams; ++n) *reinterpret_cast<Loose<Scalar>*>(job.to + n * job.pitch + at) = zero;
}

template <typename Scalar>
void part_line(const PartLine<Scalar>& job) {
    switch (job.streams) {
        case 1: return part_vectors<Scalar, 1>(job);
        case 2: return part_vectors<Scalar, 2>(job);
        case 4: return part_vectors<Scalar, 4>(job);
        case 8: return part_vectors<Scalar, 8>(job);
        default: return;
    }
}

// The vectors of a few target lines that meet the same source cells with weights of their own.
template <typename Scalar, int Stride, int Rows, int Vectors>
[[gnu::always_inline]] inline void plane_cells(const PlaneLines<Scalar>& job, Index cell) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> acc[Rows][Stride][Vectors];
    const Vector<Scalar> bias = Vector<Scalar>{} + job.bias;
    const Index* offsets = job.offsets;
    const Scalar* weights = job.weights;
#pragma GCC unroll 8
    for (int s = 0; s < Stride; ++s) {
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; ++v) acc[r][s][v] = bias;
        for (const Index* const end = offsets + job.counts[s]; offsets < end; ++offsets, weights += Rows) {
            const Scalar* const source = job.source + *offsets + cell;
            Vector<Scalar> x[Vectors];
#pragma GCC unroll 8
            for (int v = 0; v < Vectors; ++v) x[v] = *reinterpret_cast<const Loose<Scalar>*>(source + v * lanes);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) {
                const Scalar b = weights[r];
#pragma GCC unroll 8
                for (int v = 0; v < Vectors; ++v) acc[r][s][v] += b * x[v];
            }
        }
    }
    const Index start = cell * Stride, left = job.cells - start;
    const Activation activation = job.activation;
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
        Scalar* to = job.targets[r] + start;
#pragma GCC unroll 8
        for (int n = 0; n < Vectors * Stride; ++n) __builtin_prefetch(to + job.ahead + n * lanes, 1, 3);
#pragma GCC unroll 8
        for (int v = 0; v < Vectors; ++v) {
            Vector<Scalar> rows[Stride];
#pragma GCC unroll 8
            for (int s = 0; s < Stride; ++s) rows[s] = acc[r][s][v];
            if (activation == Activation::relu) {
#pragma GCC unroll 8
                for (int s = 0; s < Stride; ++s) rows[s] = rows[s] < Scalar(0) ? Vector<Scalar>{} : rows[s];
            } else if (activation != Activation::none) {
                for (int s = 0; s < Stride; ++s) rows[s] = activate<Scalar>(rows[s], activation);
            }
            shuffle<Scalar, Stride>(rows);
            if (left >= Vectors * Stride * lanes) {
#pragma GCC unroll 8
                for (int s = 0; s < Stride; ++s)
                    *reinterpret_cast<Loose<Scalar>*>(to + (v * Stride + s) * lanes) = rows[s];
            } else {
                for (int s = 0; s < Stride; ++s)
                    store_some<Scalar>(to + (v * Stride + s) * lanes, rows[s], left - (v * Stride + s) * lanes);
            }
        }
    }
}

template <typename Scalar, int Stride, int Rows>
void plane_rows(const PlaneLines<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    constexpr int fitting = BACKSTRIDE_REGISTERS / 2 / (Stride * Rows), most = fitting > 4   ? 4
                                                                               : fitting < 1 ? 1
                                                                                             : fitting;
    const Index cells = ceil_div(job.cells, Stride);
    Index cell = 0;
    for (; cell + (most - 1) * lanes < cells; cell += most * lanes) plane_cells<Scalar, Stride, Rows, most>(job, cell);
    if constexpr (most > 2)
        for (; cell + lanes < cells; cell += 2 * lanes) plane_cells<Scalar, Stride, Rows, 2>(job, cell);
    for (; cell < cells; cell += lanes) plane_cells<Scalar, Stride, Rows, 1>(job, cell);
}

template <typename Scalar, int Stride>
void plane_stride(const PlaneLines<Scalar>& job) {
    switch (job.rows) {
        case 1: return plane_rows<Scalar, Stride, 1>(job);
        case 2: return plane_rows<Scalar, Stride, 2>(job);
        case 4: return plane_rows<Scalar, Stride, 4>(job);
        default: return;
    }
}

template <typename Scalar>
void plane_lines(const PlaneLines<Scalar>& job) {
    switch (job.stride) {
        case 1: return plane_stride<Scalar, 1>(job);
        case 2: return plane_stride<Scalar, 2>(job);
        case 4: return plane_stride<Scalar, 4>(job);
        case 8: return plane_stride<Scalar, 8>(job);
        default: return;
    }
}
