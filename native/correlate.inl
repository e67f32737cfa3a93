// Kernel gradients: sums over cells.

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
