// Products in matrix registers: tiles of 16 rows times tiles of 16 columns, over pieces of the
// depth. Registers 0 to 3 hold sums, the others rows and weights. Sums are added by rising pieces.
// The registers are configured and released within a call.

template <int Register>
[[gnu::always_inline]] inline void load_tile(const void* from, Index step) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(step), "i"(Register) : "memory");
}

template <int Register>
[[gnu::always_inline]] inline void store_tile(void* to, Index step) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(step), "i"(Register) : "memory");
}

template <int Register>
[[gnu::always_inline]] inline void clear_tile() {
    asm volatile("tilezero %%tmm%c0" ::"i"(Register));
}

template <int Sum, int Rows, int Columns>
[[gnu::always_inline]] inline void multiply_tiles() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sum), "i"(Rows), "i"(Columns));
}

// body(std::integral_constant) for 0 <= n < Count.
template <int Count, int N = 0, typename Body>
[[gnu::always_inline]] inline void repeat(const Body& body) {
    if constexpr (N < Count) {
        body(std::integral_constant<int, N>());
        repeat<Count, N + 1>(body);
    }
}

// The shape of all registers for pieces of one depth: 16 rows each, but for weights.
struct alignas(64) RegisterShapes {
    unsigned char palette = 1, start = 0, reserved[14] = {};
    unsigned short bytes[16] = {};
    unsigned char rows[16] = {};

    void set(int number, Index row_count, Index byte_count) {
        rows[number] = static_cast<unsigned char>(row_count);
        bytes[number] = static_cast<unsigned short>(byte_count);
    }
};

// Numbers from a row of sums to the next: `Columns` tiles beside each other.
template <int Columns>
constexpr Index line_of_sums = 16 * (Columns > 1 ? Columns : 2);

constexpr Index most_tiles = 4;  // of sums at a time

// Rounds numbers of which some are subnormal, which the instruction for all others takes as zero.
template <int Columns>
[[gnu::noinline]] void store_small(const Vector<float>* row, Half* to, Index count) {
    narrow<float>(reinterpret_cast<const float*>(row), count < 16 * Columns ? count : 16 * Columns, to,
                  Storage::bfloat16);
}

// Bias, activation and store of one row of two tiles of columns, or the single one, from `column` on.
template <int Columns>
[[gnu::always_inline]] inline void finish_row(const MatrixProduct& p, const float* sums, void* target, Index column,
                                              const Vector<float>* bias) {
    Vector<float> row[Columns];
#pragma GCC unroll 2
    for (int v = 0; v < Columns; ++v) row[v] = *reinterpret_cast<const Loose<float>*>(sums + 16 * v) + bias[v];
    if (p.activation == Activation::relu) {
#pragma GCC unroll 2
        for (int v = 0; v < Columns; ++v) row[v] = activate<float>(row[v], Activation::relu);
    } else if (p.activation != Activation::none) {
        for (int v = 0; v < Columns; ++v) row[v] = activate<float>(row[v], p.activation);
    }
    const Index left = p.columns - column;
    if (p.wide) {
        float* to = static_cast<float*>(target) + column;
        for (int v = 0; v < Columns; ++v) store_some<float>(to + 16 * v, row[v], left - 16 * v);
        return;
    }
    Half* to = static_cast<Half*>(target) + column;
    constexpr int subnormal = 0x20;
    __mmask16 small = 0;
#pragma GCC unroll 2
    for (int v = 0; v < Columns; ++v) small |= _mm512_fpclass_ps_mask((__m512)row[v], subnormal);
    if (__builtin_expect(small, 0)) return store_small<Columns>(row, to, left);
    if constexpr (Columns == 2) {
        const auto rounded = (__m512i)_mm512_cvtne2ps_pbh((__m512)row[1], (__m512)row[0]);
        if (left >= 32) _mm512_storeu_si512(to, rounded);
        else _mm512_mask_storeu_epi16(to, (__mmask32(1) << left) - 1, rounded);
    } else {
        const auto rounded = (__m256i)_mm512_cvtneps_pbh((__m512)row[0]);
        if (left >= 16) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), rounded);
        else _mm256_mask_storeu_epi16(to, static_cast<__mmask16>((1u << left) - 1), rounded);
    }
}

// Rows whose sums are complete, but for bias, activation and store: that is done while the matrix registers are busy
// with those that follow.
template <int Columns>
class UnfinishedRows {
public:
    const Index column;  // tile

    UnfinishedRows(const MatrixProduct& p, Index column) : column(column), p_(p) {
        for (int v = 0; v < Columns; ++v)
            bias_[v] = p.bias ? Vector<float>(*reinterpret_cast<const Loose<float>*>(p.bias + (column + v) * 16))
                              : Vector<float>{};
    }

    Index rows() const { return rows_ - done_; }

    // Where the next sums go, meanwhile.
    float* next() { return places_[sums_ == places_[0]]; }

    void begin(const float* sums, void* const* targets, Index rows) {
        sums_ = sums, targets_ = targets, rows_ = rows, done_ = 0;
    }

    [[gnu::always_inline]] void finish(Index count) {
        for (const Index end = done_ + count < rows_ ? done_ + count : rows_; done_ < end; ++done_) {
            if (!targets_[done_]) continue;
#pragma GCC unroll 2
            for (int v = 0; v < Columns; v += together)
                finish_row<together>(p_, sums_ + done_ * line_of_sums<Columns> + v * 16, targets_[done_],
                                     (column + v) * 16, bias_ + v);
        }
    }

private:
    static constexpr int together = Columns > 1 ? 2 : 1;
    alignas(64) float places_[2][most_tiles * matrix_rows * line_of_sums<1>];
    const MatrixProduct& p_;
    Vector<float> bias_[Columns];
    const float* sums_ = nullptr;
    void* const* targets_ = nullptr;
    Index rows_ = 0, done_ = 0;
};

// The sums of `Rows` tiles from `tile` on, which wait then; meanwhile those that waited are finished.
template <int Rows, int Columns>
[[gnu::noinline]] void tiles_times_columns(const MatrixProduct& p, Index tile, UnfinishedRows<Columns>& unfinished) {
    constexpr Index line = line_of_sums<Columns>;
    const Index step = p.step * 2, size = p.depth * matrix_rows;  // numbers of a tile of weights
    const Half* weights[Columns];
    const Half* rows[Rows];
    for (int v = 0; v < Columns; ++v) weights[v] = p.weights + (unfinished.column + v) * p.pieces * size;
    for (int r = 0; r < Rows; ++r) rows[r] = p.source + p.places[tile + r];
    repeat<Rows * Columns>([&](auto n) { clear_tile<n>(); });
    const Index share = ceil_div(unfinished.rows(), p.pieces);
    for (Index n = 0; n < p.pieces; ++n) {
        const Index shift = p.shifts[n];
        // The side that has fewer tiles stays in its registers while those of the other pass.
        if constexpr (Rows <= 2 && Columns <= 2) {
            repeat<Columns>([&](auto v) { load_tile<6 + v>(weights[v], 64); });
            repeat<Rows>([&](auto r) {
                load_tile<4 + r>(rows[r] + shift, step);
                repeat<Columns>([&](auto v) { multiply_tiles<r * Columns + v, 4 + r, 6 + v>(); });
            });
        } else if constexpr (Columns == 1) {
            load_tile<7>(weights[0], 64);
            repeat<Rows>([&](auto r) {
                load_tile<4 + r % 2>(rows[r] + shift, step);
                multiply_tiles<r, 4 + r % 2, 7>();
            });
        } else {
            load_tile<4>(rows[0] + shift, step);
            repeat<Columns>([&](auto v) {
                load_tile<6 + v % 2>(weights[v], 64);
                multiply_tiles<v, 4, 6 + v % 2>();
            });
        }
        for (int v = 0; v < Columns; ++v) weights[v] += size;
        unfinished.finish(share);
    }
    float* const sums = unfinished.next();
    repeat<Rows>([&](auto r) {
        repeat<Columns>([&](auto v) { store_tile<r * Columns + v>(sums + r * matrix_rows * line + v * 16, line * 4); });
    });
    unfinished.begin(sums, p.targets + tile * matrix_rows, Rows * matrix_rows);
}

// All rows by some tiles of columns.
template <int Rows, int Columns>
void rows_times_columns(const MatrixProduct& p, Index column) {
    UnfinishedRows<Columns> unfinished(p, column);
    Index n = 0;
    for (; n + Rows <= p.tiles; n += Rows) tiles_times_columns<Rows, Columns>(p, n, unfinished);
    if constexpr (Rows == 4)
        for (; n + 2 <= p.tiles; n += 2) tiles_times_columns<2, Columns>(p, n, unfinished);
    for (; n < p.tiles; ++n) tiles_times_columns<1, Columns>(p, n, unfinished);
    unfinished.finish(matrix_rows * Rows);
}

// Few rows and large weights: four tiles of columns at a time read a row once for all.
void multiply(const MatrixProduct& p) {
    RegisterShapes shapes;
    for (int n = 0; n < 6; ++n) shapes.set(n, matrix_rows, n < 4 ? 64 : 2 * p.depth);
    for (int n = 6; n < 8; ++n) shapes.set(n, p.depth / 2, 64);
    asm volatile("ldtilecfg %0" ::"m"(shapes));
    Index column = p.first;
    if (p.tiles == 1)
        for (; column + 4 <= p.last; column += 4) rows_times_columns<1, 4>(p, column);
    for (; column + 2 <= p.last; column += 2) rows_times_columns<2, 2>(p, column);
    if (column < p.last) rows_times_columns<4, 1>(p, column);
    asm volatile("tilerelease");
}
