// Tiles along one axis: rows of a small matrix that the caller has, times `points` cells each,
// channels in the lanes. Reads [tile][place][point][channel] and writes
// [tile][place][row][channel], by the steps of AxisTiles. A sum is taken by rising points, for
// every channel alike.

template <typename Scalar, int Points, int Rows>
[[gnu::always_inline]] inline void axis_rows(const Scalar* matrix, const Scalar* from, Index from_step, Index left,
                                             Scalar* to, Index to_step) {
    constexpr Index lanes = Lanes<Scalar>::count;
    Vector<Scalar> cells[Points];
#pragma GCC unroll 8
    for (int p = 0; p < Points; ++p)
        cells[p] = left >= lanes ? Vector<Scalar>(*reinterpret_cast<const Loose<Scalar>*>(from + p * from_step))
                                 : some(from + p * from_step, left);
#pragma GCC unroll 8
    for (int row = 0; row < Rows; ++row) {
        Vector<Scalar> sum = matrix[row * Points] * cells[0];
#pragma GCC unroll 8
        for (int p = 1; p < Points; ++p) sum += matrix[row * Points + p] * cells[p];
        store_some<Scalar>(to + row * to_step, sum, left);
    }
}

template <typename Scalar, int Points, int Rows>
void axis_tiles_of(const AxisTiles<Scalar>& job) {
    constexpr Index lanes = Lanes<Scalar>::count;
    for (Index tile = 0; tile < job.tiles; ++tile)
        for (Index n = 0; n < job.distance; ++n) {
            const Scalar* from = job.from + tile * job.from_tile + n * job.from_next;
            Scalar* to = job.to + tile * job.to_tile + n * job.to_next;
            for (Index c = 0; c < job.channels; c += lanes)
                axis_rows<Scalar, Points, Rows>(job.matrix, from + c, job.from_point, job.channels - c, to + c,
                                                job.to_row);
        }
}

template <typename Scalar>
void axis_tiles(const AxisTiles<Scalar>& job) {
    switch (job.points * 8 + job.rows) {
        case 6 * 8 + 6: return axis_tiles_of<Scalar, 6, 6>(job);
        case 6 * 8 + 4: return axis_tiles_of<Scalar, 6, 4>(job);
        case 7 * 8 + 7: return axis_tiles_of<Scalar, 7, 7>(job);
        case 7 * 8 + 4: return axis_tiles_of<Scalar, 7, 4>(job);
        default: return;
    }
}
