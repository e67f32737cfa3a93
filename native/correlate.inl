// Inner loops of kernel gradients: weights[b][c] is the sum over cells of large[cell][b] *
// small[cell][c], channels c in the lanes, a tile of rows b in registers; depthwise, of
// large[cell][c] * small[cell][c]. Cells come in runs, (cell, channel) with a step on each side,
// and are summed in their order. Below them, the transforms of Winograd's tiles for gradients.

// As many rows as leave registers for a row of `small`; nearly equal heights make up all rows.
constexpr int correlation_rows(int vectors) {
    constexpr int most[2][4] = {{8, 6, 0, 0}, {14, 12, 8, 6}};
    return most[BACKSTRIDE_REGISTERS / 32][vectors - 1];
}

// The rows [row, row + Rows) of weights, of the vectors from `column` on; `large` and `small` point to cell 0 of both.
template <typename Scalar, int Rows, int Vectors>
void correlate_tile(const Correlation<Scalar>& job, const Scalar* large_start, const Scalar* small_start, Index row,
                    Index column) {
    constexpr Index lanes = Lanes<Scalar>::count, width = Vectors * lanes;
    const Index left = job.columns - column;
    Vector<Scalar> acc[Rows][Vectors];
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) acc[r][v] = Vector<Scalar>{};
    for (Index number = 0; number < job.run_count; ++number) {
        const CellRun& run = job.runs[number];
        const Scalar* large = large_start + run.large;
        const Scalar* small = small_start + run.small;
        // Whole vectors are read, the last ones beyond the columns, as far as there is something to read.
        const Index fits = left >= width                   ? run.count
                           : small + width > job.small_end ? 0
                                                           : (job.small_end - small - width) / job.small_step + 1;
        const Index safe = fits < run.count ? fits : run.count;
        // What follows a long run in memory is what the next one meets, which the hardware cannot see coming.
        const Index ahead = job.streams && run.count >= tuning::loops::long_run ? run.count : 0;
        const auto meet = [&](const Vector<Scalar>(&b)[Vectors]) __attribute__((always_inline)) {
#pragma GCC unroll 16
            for (int r = 0; r < Rows; ++r) {
                const Scalar a = large[r];
#pragma GCC unroll 4
                for (int v = 0; v < Vectors; ++v) acc[r][v] += a * b[v];
            }
            if (ahead > 0) {
                __builtin_prefetch(large + ahead * job.large_step, 0, 2);
                if (row == 0) {
#pragma GCC unroll 4
                    for (int v = 0; v < Vectors; ++v)
                        __builtin_prefetch(small + ahead * job.small_step + v * lanes, 0, 2);
                }
            }
            large += job.large_step;
            small += job.small_step;
        };
        Vector<Scalar> b[Vectors];
        for (Index cell = 0; cell < safe; ++cell) {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) b[v] = *reinterpret_cast<const Loose<Scalar>*>(small + v * lanes);
            meet(b);
        }
        for (Index cell = safe; cell < run.count; ++cell) {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) b[v] = some(small + v * lanes, left - v * lanes);
            meet(b);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) {
            Scalar* to = job.weights + (row + r) * job.weights_stride + column + v * lanes;
            store_some<Scalar>(to, job.adds ? some(to, left - v * lanes) + acc[r][v] : acc[r][v], left - v * lanes);
        }
}

template <typename Scalar, int Rows, int Vectors>
void correlate_rows(const Correlation<Scalar>& job, const Scalar* large, const Scalar* small, Index row, Index count,
                    Index column) {
    if constexpr (Rows > 0) {
        if (count == Rows) correlate_tile<Scalar, Rows, Vectors>(job, large, small, row, column);
        else correlate_rows<Scalar, Rows - 1, Vectors>(job, large, small, row, count, column);
    }
}

template <typename Scalar, int Vectors>
void correlate_panel(const Correlation<Scalar>& job, Index column) {
    constexpr int most = correlation_rows(Vectors);
    const Index tiles = ceil_div(job.rows, most);
    Index row = 0;
    for (Index tile = 0; tile < tiles; ++tile) {
        const Index count = (job.rows + tile) / tiles;
        correlate_rows<Scalar, most, Vectors>(job, job.large + row, job.small + column, row, count, column);
        row += count;
    }
}

template <typename Scalar>
void correlate(const Correlation<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index column = 0; column < job.columns; column += panel_vectors * lanes) {
        const Index left = ceil_div(job.columns - column, lanes);
        switch (left < panel_vectors ? left : panel_vectors) {
            case 1: correlate_panel<Scalar, 1>(job, column); break;
            case 2: correlate_panel<Scalar, 2>(job, column); break;
#if BACKSTRIDE_REGISTERS == 32
            case 3: correlate_panel<Scalar, 3>(job, column); break;
            case 4: correlate_panel<Scalar, 4>(job, column); break;
#endif
            default: break;
        }
    }
}

// Depthwise: weights[c] += sum over cells of large[c] * small[c].
template <typename Scalar, int Vectors>
inline void correlate_channels(const Correlation<Scalar>& job, Index column) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> acc[Vectors] = {};
    for (Index number = 0; number < job.run_count; ++number) {
        const Scalar* large = job.large + job.runs[number].large + column;
        const Scalar* small = job.small + job.runs[number].small + column;
        for (Index cell = 0; cell < job.runs[number].count; ++cell) {
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v)
                acc[v] += *reinterpret_cast<const Loose<Scalar>*>(large + v * lanes) *
                          *reinterpret_cast<const Loose<Scalar>*>(small + v * lanes);
            large += job.large_step;
            small += job.small_step;
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) *reinterpret_cast<Loose<Scalar>*>(job.weights + column + v * lanes) += acc[v];
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
            for (Index cell = 0; cell < job.runs[number].count; ++cell)
                sum += large[cell * job.large_step] * small[cell * job.small_step];
            job.weights[column] += sum;
        }
}

// Winograd tiles of the gradient, by transposition of those of winograd.inl: cells of the large side into planes, whose
// products with the planes of the small side are summed over tiles, and the sums into taps.
template <typename Scalar, int Outputs, int Planes>
[[gnu::always_inline]] inline void winograd_large_axis(Vector<Scalar>* d, int step) {
    if constexpr (Planes == 3) {
        d[2 * step] = d[step];
        d[step] += d[0];
    } else if constexpr (Planes == 4) {
        const Vector<Scalar> odd = d[step];
        const Vector<Scalar> even = Outputs == 3 ? d[0] + d[2 * step] : d[0];
        d[3 * step] = Outputs == 3 ? d[2 * step] : odd;
        d[step] = even + odd;
        d[2 * step] = even - odd;
    }
}

template <typename Scalar, int Taps, int Planes>
[[gnu::always_inline]] inline void winograd_taps_axis(Vector<Scalar>* m, int step) {
    if constexpr (Planes == 3) {
        m[0] += m[step];
        m[step] += m[2 * step];
    } else if constexpr (Planes == 4) {
        const Vector<Scalar> even = Scalar(0.5) * (m[step] + m[2 * step]), odd = Scalar(0.5) * (m[step] - m[2 * step]);
        m[0] += even;
        if constexpr (Taps == 3) {
            m[step] = odd;
            m[2 * step] = even + m[3 * step];
        } else {
            m[step] = odd + m[3 * step];
        }
    }
}

template <typename Scalar, int LineOutputs, int Lines, int ColumnOutputs, int Columns>
void winograd_large_planes(const WinogradInput<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index tile = 0; tile < job.tiles; ++tile) {
        const Scalar* const* cells = job.cells + tile * LineOutputs * ColumnOutputs;
        for (Index c = 0; c < job.depth; c += lanes) {
            Vector<Scalar> d[Lines * Columns];
#pragma GCC unroll 4
            for (int a = 0; a < LineOutputs; ++a)
#pragma GCC unroll 4
                for (int b = 0; b < ColumnOutputs; ++b)
                    d[a * Columns + b] = some(cells[a * ColumnOutputs + b] + job.source_offset + c, job.depth - c);
#pragma GCC unroll 4
            for (int a = 0; a < LineOutputs; ++a)
                winograd_large_axis<Scalar, ColumnOutputs, Columns>(d + a * Columns, 1);
#pragma GCC unroll 4
            for (int b = 0; b < Columns; ++b) winograd_large_axis<Scalar, LineOutputs, Lines>(d + b, Columns);
            Scalar* to = job.planes + tile * job.tile_stride + c;
#pragma GCC unroll 16
            for (int n = 0; n < Lines * Columns; ++n)
                *reinterpret_cast<Loose<Scalar>*>(to + n * job.plane_stride) = d[n];
        }
    }
}

template <typename Scalar, int LineTaps, int Lines, int ColumnTaps, int Columns>
void winograd_taps_planes(const WinogradTaps<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index row = 0; row < job.rows; ++row)
        for (Index c = 0; c < job.columns; c += lanes) {
            const Scalar* from = job.planes + row * job.row_stride + c;
            Vector<Scalar> m[Lines * Columns];
#pragma GCC unroll 16
            for (int n = 0; n < Lines * Columns; ++n)
                m[n] = *reinterpret_cast<const Loose<Scalar>*>(from + n * job.plane_stride);
#pragma GCC unroll 4
            for (int b = 0; b < Columns; ++b) winograd_taps_axis<Scalar, LineTaps, Lines>(m + b, Columns);
#pragma GCC unroll 4
            for (int a = 0; a < LineTaps; ++a) winograd_taps_axis<Scalar, ColumnTaps, Columns>(m + a * Columns, 1);
#pragma GCC unroll 4
            for (int a = 0; a < LineTaps; ++a)
#pragma GCC unroll 4
                for (int b = 0; b < ColumnTaps; ++b) {
                    Scalar* to = job.taps[a * ColumnTaps + b] + row * job.weights_stride + c;
                    const Vector<Scalar> sum = m[a * Columns + b];
                    store_some<Scalar>(to, job.adds ? some(to, job.columns - c) + sum : sum, job.columns - c);
                }
        }
}

#define BACKSTRIDE_LINES(run, a, b)                                              \
    case (((a) * 8 + (b)) * 8 + 1) * 8 + 1: return run<Scalar, a, b, 1, 1>(job); \
    case (((a) * 8 + (b)) * 8 + 2) * 8 + 3: return run<Scalar, a, b, 2, 3>(job); \
    case (((a) * 8 + (b)) * 8 + 3) * 8 + 4: return run<Scalar, a, b, 3, 4>(job); \
    case (((a) * 8 + (b)) * 8 + 2) * 8 + 4: return run<Scalar, a, b, 2, 4>(job)
#define BACKSTRIDE_FORMS(run)    \
    BACKSTRIDE_LINES(run, 1, 1); \
    BACKSTRIDE_LINES(run, 2, 3); \
    BACKSTRIDE_LINES(run, 3, 4); \
    BACKSTRIDE_LINES(run, 2, 4); \
    default: return

template <typename Scalar>
void winograd_large(const WinogradInput<Scalar>& job) {
    switch (((job.line_form.outputs * 8 + job.line_form.planes()) * 8 + job.column_form.outputs) * 8 +
            job.column_form.planes()) {
        BACKSTRIDE_FORMS(winograd_large_planes);
    }
}

template <typename Scalar>
void winograd_taps(const WinogradTaps<Scalar>& job) {
    switch (((job.line_form.taps * 8 + job.line_form.planes()) * 8 + job.column_form.taps) * 8 +
            job.column_form.planes()) {
        BACKSTRIDE_FORMS(winograd_taps_planes);
    }
}
#undef BACKSTRIDE_FORMS
#undef BACKSTRIDE_LINES
