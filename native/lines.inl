// Few output channels: cells in the lanes.

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
