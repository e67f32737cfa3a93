// Inner loops of depthwise lines, channels in the lanes: target[cell][c] is the sum over taps of
// source[cell of the tap][c] * weights[tap][c], on top of the bias, by rising taps.
// `depthwise_line` takes cells that meet the same taps, of any stride and kernel; the kernels of
// `depthwise_kernel` take a whole line of a stride and a kernel that are known, and load each
// source cell once.

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
                                    : some(source + v * lanes, columns - v * lanes)) *
                             b[v];
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
        for (int v = 0; v < Vectors; ++v)
            store_some<Scalar>(to + v * lanes, activate<Scalar>(acc[n][v], job.activation), columns - v * lanes);
}

template <typename Scalar, int Vectors, bool Whole>
void depthwise_vectors(const DepthwiseLine<Scalar>& job) {
    constexpr int Cells = BACKSTRIDE_REGISTERS == 32 ? 4 : 2;
    Index cell = 0;
    for (; cell + Cells <= job.count; cell += Cells) depthwise_cells<Scalar, Cells, Vectors, Whole>(job, cell);
    if constexpr (Cells > 2)
        for (; cell + 2 <= job.count; cell += 2) depthwise_cells<Scalar, 2, Vectors, Whole>(job, cell);
    for (; cell < job.count; ++cell) depthwise_cells<Scalar, 1, Vectors, Whole>(job, cell);
}

template <typename Scalar>
void depthwise_line(const DepthwiseLine<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    if (job.columns == panel_vectors * lanes) return depthwise_vectors<Scalar, panel_vectors, true>(job);
    switch (ceil_div(job.columns, lanes)) {
        case 1: return depthwise_vectors<Scalar, 1, false>(job);
        case 2: return depthwise_vectors<Scalar, 2, false>(job);
#if BACKSTRIDE_REGISTERS == 32
        case 3: return depthwise_vectors<Scalar, 3, false>(job);
        case 4: return depthwise_vectors<Scalar, 4, false>(job);
#endif
        default: return;
    }
}

// Whole lines: the sums of `Outputs` blocks stay in registers, one vector of channels at a time, and every source cell
// is loaded once for all the taps that meet it. Sums run in the order of taps. Smooth activations have no place among
// so many registers.
template <typename Scalar, int Count>
[[gnu::always_inline]] inline void finish_cells(const DepthwiseBlocks<Scalar>& job, Vector<Scalar> (&acc)[Count],
                                                Scalar* to) {
    if (job.activation == Activation::relu) {
#pragma GCC unroll 16
        for (int n = 0; n < Count; ++n) acc[n] = acc[n] < Scalar(0) ? Vector<Scalar>{} : acc[n];
    }
    const Index step = job.step;
#pragma GCC unroll 16
    for (int n = 0; n < Count; ++n, to += step) *reinterpret_cast<Loose<Scalar>*>(to) = acc[n];
}

template <typename Scalar, int Stride, int Taps, int Outputs>
[[gnu::always_inline]] inline void spread_cells(const DepthwiseBlocks<Scalar>& job, Index block, Index column) {
    constexpr int shifts = ceil_div(Taps, Stride);
    Vector<Scalar> bias{};
    if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + column);
    Vector<Scalar> acc[Outputs * Stride];
#pragma GCC unroll 16
    for (int n = 0; n < Outputs * Stride; ++n) acc[n] = bias;
    for (Index line = 0; line < job.lines; ++line) {
        const Scalar* source = job.sources[line] + block * job.step + column;
        const Scalar* weights = job.weights[line] + column;
        Vector<Scalar> x[Outputs + shifts - 1];
#pragma GCC unroll 16
        for (int n = 0; n < Outputs + shifts - 1; ++n)
            x[n] = *reinterpret_cast<const Loose<Scalar>*>(source + (n - shifts + 1) * job.step);
#pragma GCC unroll 16
        for (int tap = 0; tap < Taps; ++tap) {
            const Vector<Scalar> b = *reinterpret_cast<const Loose<Scalar>*>(weights + tap * job.weight_step);
#pragma GCC unroll 16
            for (int n = 0; n < Outputs; ++n) acc[n * Stride + tap % Stride] += x[n - tap / Stride + shifts - 1] * b;
        }
    }
    finish_cells<Scalar>(job, acc, job.target + (block * Stride - job.before) * job.step + column);
}

template <typename Scalar, int Stride, int Taps, int Outputs>
[[gnu::always_inline]] inline void gather_cells(const DepthwiseBlocks<Scalar>& job, Index block, Index column) {
    Vector<Scalar> bias{};
    if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + column);
    Vector<Scalar> acc[Outputs];
#pragma GCC unroll 16
    for (int n = 0; n < Outputs; ++n) acc[n] = bias;
    for (Index line = 0; line < job.lines; ++line) {
        const Scalar* source = job.sources[line] + (block * Stride - job.before) * job.step + column;
        const Scalar* weights = job.weights[line] + column;
        Vector<Scalar> b[Taps];
#pragma GCC unroll 16
        for (int tap = 0; tap < Taps; ++tap)
            b[tap] = *reinterpret_cast<const Loose<Scalar>*>(weights + tap * job.weight_step);
#pragma GCC unroll 80
        for (int cell = 0; cell < (Outputs - 1) * Stride + Taps; ++cell) {
            const Vector<Scalar> x = *reinterpret_cast<const Loose<Scalar>*>(source + cell * job.step);
#pragma GCC unroll 16
            for (int n = 0; n < Outputs; ++n)
                if (cell >= n * Stride && cell < n * Stride + Taps) acc[n] += x * b[cell - n * Stride];
        }
    }
    finish_cells<Scalar>(job, acc, job.target + block * job.step + column);
}

// A cell near the ends of a line, which meets some of the taps.
template <typename Scalar, bool Spreads, int Stride, int Taps>
[[gnu::noinline]] void edge_cell(const DepthwiseBlocks<Scalar>& job, Index cell) {
    constexpr Index lanes = Lanes<Scalar>::count;
    // Tap first + n*step_taps meets source cell start + n*step_cells, for n < count.
    Index first, start, count;
    constexpr Index step_taps = Spreads ? Stride : 1, step_cells = Spreads ? -1 : 1;
    if (Spreads) {
        const Index at = cell + job.before, block = at < 0 ? -1 : at / Stride, residue = at - block * Stride;
        const Index skipped = block < job.source_cells ? 0 : block - job.source_cells + 1,
                    own = ceil_div(Taps - residue, Stride);
        first = residue + skipped * Stride, start = block - skipped,
        count = (block + 1 < own ? block + 1 : own) - skipped;
    } else {
        const Index at = cell * Stride - job.before, end = job.source_cells - at < Taps ? job.source_cells - at : Taps;
        first = at < 0 ? -at : 0, start = at + first, count = end - first;
    }
    for (Index next = 0; next < job.columns; next += lanes) {
        const Index column = next + lanes > job.columns ? job.columns - lanes : next;
        Vector<Scalar> sum[1] = {};
        if (job.bias) sum[0] = *reinterpret_cast<const Loose<Scalar>*>(job.bias + column);
        for (Index line = 0; line < job.lines; ++line)
            for (Index n = 0; n < count; ++n)
                sum[0] += *reinterpret_cast<const Loose<Scalar>*>(job.sources[line] +
                                                                  (start + n * step_cells) * job.step + column) *
                          *reinterpret_cast<const Loose<Scalar>*>(job.weights[line] +
                                                                  (first + n * step_taps) * job.weight_step + column);
        finish_cells<Scalar>(job, sum, job.target + cell * job.step + column);
    }
}

// One or two lines of taps whose weights all fit into half of the registers: block after block, so that every source
// cell is loaded once, and stores stand between the products.
template <typename Scalar, int Stride, int Taps, int Lines>
[[gnu::always_inline]] inline void stream_cells(const DepthwiseBlocks<Scalar>& job, Index from, Index to,
                                                Index column) {
    const Index step = job.step;
    Vector<Scalar> b[Lines][Taps], last[Lines], bias{};
    const Scalar* source[Lines];
    if (job.bias) bias = *reinterpret_cast<const Loose<Scalar>*>(job.bias + column);
#pragma GCC unroll 2
    for (int line = 0; line < Lines; ++line) {
        source[line] = job.sources[line] + from * step + column;
        if (Taps > Stride) last[line] = *reinterpret_cast<const Loose<Scalar>*>(source[line] - step);
#pragma GCC unroll 16
        for (int tap = 0; tap < Taps; ++tap)
            b[line][tap] = *reinterpret_cast<const Loose<Scalar>*>(job.weights[line] + tap * job.weight_step + column);
    }
    const bool clips = job.activation == Activation::relu;
    Scalar* target = job.target + (from * Stride - job.before) * step + column;
#pragma GCC unroll 2
    for (Index block = from; block < to; ++block) {
        Vector<Scalar> acc[Stride];
#pragma GCC unroll 16
        for (int r = 0; r < Stride; ++r) acc[r] = bias;
#pragma GCC unroll 2
        for (int line = 0; line < Lines; ++line) {
            const Vector<Scalar> x = *reinterpret_cast<const Loose<Scalar>*>(source[line]);
            source[line] += step;
#pragma GCC unroll 16
            for (int r = 0; r < Stride; ++r) acc[r] += x * b[line][r];
#pragma GCC unroll 16
            for (int r = 0; r < Taps - Stride; ++r) acc[r] += last[line] * b[line][Stride + r];
            last[line] = x;
        }
#pragma GCC unroll 16
        for (int r = 0; r < Stride; ++r, target += step) {
            if (clips) acc[r] = acc[r] < Scalar(0) ? Vector<Scalar>{} : acc[r];
            *reinterpret_cast<Loose<Scalar>*>(target) = acc[r];
        }
    }
}
// In stretches that come round to all channels before they leave the nearest cache.
template <typename Scalar, int Stride, int Taps, int Lines>
void stream_blocks(const DepthwiseBlocks<Scalar>& job) {
    using namespace tuning::loops;
    constexpr Index lanes = Lanes<Scalar>::count, most = stretch_bytes / static_cast<Index>(sizeof(Scalar)) / Stride;
    const Index fitting = most / job.step, stretch = fitting < least_stretch  ? least_stretch
                                                     : fitting > most_stretch ? most_stretch
                                                                              : fitting;
    for (Index block = job.low; block < job.high; block += stretch) {
        const Index to = block + stretch < job.high ? block + stretch : job.high;
        for (Index at = 0; at < job.columns; at += lanes)
            stream_cells<Scalar, Stride, Taps, Lines>(job, block, to,
                                                      at + lanes > job.columns ? job.columns - lanes : at);
    }
}

// The last blocks and the last channels may repeat some of those before.
template <typename Scalar, bool Spreads, int Stride, int Taps, int Outputs>
void inner_blocks(const DepthwiseBlocks<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    if (job.high - job.low < Outputs) {
        const Index cells = Spreads ? Stride : 1, before = Spreads ? job.before : 0;
        for (Index cell = job.low * cells - before; cell < job.high * cells - before; ++cell)
            edge_cell<Scalar, Spreads, Stride, Taps>(job, cell);
        return;
    }
    for (Index next = job.low; next < job.high; next += Outputs) {
        const Index block = next + Outputs > job.high ? job.high - Outputs : next;
        for (Index at = 0; at < job.columns; at += lanes) {
            const Index column = at + lanes > job.columns ? job.columns - lanes : at;
            if constexpr (Spreads) spread_cells<Scalar, Stride, Taps, Outputs>(job, block, column);
            else gather_cells<Scalar, Stride, Taps, Outputs>(job, block, column);
        }
    }
}

template <typename Scalar, bool Spreads, int Stride, int Taps>
void most_blocks(const DepthwiseBlocks<Scalar>& job) {
    constexpr int sums = BACKSTRIDE_REGISTERS / 2;
    constexpr Index narrow = tuning::loops::narrow_bytes / static_cast<Index>(sizeof(Scalar));
    if constexpr (!Spreads) {
        if (job.step <= narrow && job.high - job.low >= sums)
            return inner_blocks<Scalar, false, Stride, Taps, sums>(job);
        return inner_blocks<Scalar, false, Stride, Taps, 4>(job);
    } else if constexpr (Stride == 1) {
        return inner_blocks<Scalar, true, 1, Taps, sums / 2>(job);
    } else {
        if constexpr (Taps <= 2 * Stride && Taps <= sums)
            if (job.lines == 1) return stream_blocks<Scalar, Stride, Taps, 1>(job);
        if constexpr (Taps <= 2 * Stride && 2 * Taps <= sums)
            if (job.lines == 2) return stream_blocks<Scalar, Stride, Taps, 2>(job);
        inner_blocks<Scalar, true, Stride, Taps, sums / Stride>(job);
    }
}

template <typename Scalar, bool Spreads, int Stride, int Taps>
void depthwise_blocks(const DepthwiseBlocks<Scalar>& job) {
    const Index cells = Spreads ? Stride : 1, before = Spreads ? job.before : 0;
    for (Index cell = 0; cell < job.low * cells - before; ++cell) edge_cell<Scalar, Spreads, Stride, Taps>(job, cell);
    most_blocks<Scalar, Spreads, Stride, Taps>(job);
    for (Index cell = job.high * cells - before; cell < job.target_cells; ++cell)
        edge_cell<Scalar, Spreads, Stride, Taps>(job, cell);
}

template <typename Scalar, bool Spreads>
DepthwiseKernel<Scalar> depthwise_kernel_of(Index stride, Index taps) {
#define BACKSTRIDE_CASE(s, k) \
    if (stride == s && taps == k) return depthwise_blocks<Scalar, Spreads, s, k>;
    BACKSTRIDE_CASE(1, 3)
    BACKSTRIDE_CASE(2, 2)
    BACKSTRIDE_CASE(2, 3)
    BACKSTRIDE_CASE(2, 4)
    BACKSTRIDE_CASE(2, 5)
    BACKSTRIDE_CASE(4, 4)
    BACKSTRIDE_CASE(4, 8)
    BACKSTRIDE_CASE(8, 16)
#undef BACKSTRIDE_CASE
    return nullptr;
}

template <typename Scalar>
DepthwiseKernel<Scalar> depthwise_kernel(bool transpose, Index stride, Index taps) {
    return transpose ? depthwise_kernel_of<Scalar, true>(stride, taps)
                     : depthwise_kernel_of<Scalar, false>(stride, taps);
}
