// Depthwise sums along a line.

// Cells that meet a tap together share its weights.
template <typename Scalar, int Cells, int Vectors, bool Whole>
[[gnu::always_inline]] inline void depthwise_cells(const DepthwiseLine<Scalar>& job, Index cell) {
    constexpr Index lanes = Lanes<Scalar>::count;
    const Index taps = job.taps, step = job.source_step, columns = job.columns, start = cell * step;
    Vector<Scalar> acc[Cells][Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) {
        Vector<Scalar> bias{};
        if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + v * lanes);
#pragma GCC unroll 4
        for (int n = 0; n < Cells; ++n) acc[n][v] = bias;
    }
    for (Index tap = 0; tap < taps; ++tap) {
        const Scalar* source = job.sources[tap] + start;
        const Scalar* weights = job.weights[tap];
        Vector<Scalar> b[Vectors];
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) b[v] = *reinterpret_cast<const Loose<Scalar>*>(weights + v * lanes);
#pragma GCC unroll 4
        for (int n = 0; n < Cells; ++n, source += step)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v)
                acc[n][v] += (Whole ? Vector<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(source + v * lanes))
                                    : some(source + v * lanes, columns - v * lanes)) * b[v];
    }
    Scalar* to = job.target + cell * job.target_step;
    const Index target_step = job.target_step;
    if (Whole && job.activation <= Activation::relu) {
        const bool clips = job.activation == Activation::relu;
#pragma GCC unroll 4
        for (int n = 0; n < Cells; ++n, to += target_step)
#pragma GCC unroll 4
            for (int v = 0; v < Vectors; ++v) {
                if (clips) acc[n][v] = acc[n][v] < Scalar(0) ? Vector<Scalar>{} : acc[n][v];
                *reinterpret_cast<Loose<Scalar>*>(to + v * lanes) = acc[n][v];
            }
        return;
    }
#pragma GCC unroll 4
    for (int n = 0; n < Cells; ++n, to += target_step)
#pragma GCC unroll 4
        for (int v = 0; v < Vectors; ++v) store_some<Scalar>(to + v * lanes, activate<Scalar>(acc[n][v], job.activation), columns - v * lanes);
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
