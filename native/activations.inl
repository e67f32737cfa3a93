// The activations, of whole vectors: x to activated x, in registers. relu, relu6 and leaky_relu are
// a few instructions; the smooth ones are computed in double by polynomials and rounded once in
// single precision, and by the C library in double. The same number gives the same result in every
// lane.

inline double activated(double x, Activation activation) {
    switch (activation) {
        case Activation::sigmoid: return 1 / (1 + __builtin_exp(-x));
        case Activation::tanh: return __builtin_tanh(x);
        case Activation::gelu: return x * 0.5 * (1 + __builtin_erf(x * 0.70710678118654752440));
        case Activation::silu: return x / (1 + __builtin_exp(-x));
        default: return x;
    }
}

// e**x: x = n log 2 + r, a Taylor polynomial of r, and n added to the exponent in two steps.
typedef double Wide __attribute__((vector_size(BACKSTRIDE_BYTES)));
typedef long long WideBits __attribute__((vector_size(BACKSTRIDE_BYTES)));

inline Wide exponential(Wide x) {
    x = x < -1000.0 ? Wide{} - 1000.0 : (x > 1000.0 ? Wide{} + 1000.0 : x);
    constexpr double shift = 6755399441055744.0;  // 1.5 * 2**52: its last bits are integers
    const Wide shifted = x * 1.4426950408889634 + shift, n = shifted - shift;
    const Wide r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
    Wide sum = Wide{} + 1.0 / 39916800;
    constexpr double factors[] = {1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120,
                                  1.0 / 24,      1.0 / 6,      0.5,         1.0,        1.0};
#pragma GCC unroll 11
    for (int i = 0; i < 11; ++i) sum = sum * r + factors[i];
    const WideBits power = (WideBits)shifted - (WideBits)(Wide{} + shift), half = power >> 1;
    return sum * (Wide)((half + 1023) << 52) * (Wide)((power - half + 1023) << 52);
}

// Half of the complementary error function of -x / sqrt(2), by the Chebyshev fit of Press et al., Numerical Recipes,
// section 6.2: relative error below 1.2e-7 everywhere.
inline Wide normal_share(Wide x) {
    const Wide z = (x < 0.0 ? -x : x) * 0.70710678118654752440, t = 1.0 / (1.0 + 0.5 * z);
    Wide sum = Wide{} + 0.17087277;
    constexpr double factors[] = {-0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806,
                                  0.09678418,  0.37409196, 1.00002368,  -1.26551223};
#pragma GCC unroll 9
    for (int i = 0; i < 9; ++i) sum = sum * t + factors[i];
    const Wide tail = 0.5 * t * exponential(sum - z * z);
    return x < 0.0 ? tail : 1.0 - tail;
}

inline Wide activated(Wide x, Activation activation) {
    switch (activation) {
        case Activation::sigmoid: return 1.0 / (1.0 + exponential(-x));
        case Activation::silu: return x / (1.0 + exponential(-x));
        case Activation::gelu: return x * normal_share(x);
        case Activation::tanh: {
            const Wide magnitude = x < 0.0 ? -x : x, decay = exponential(-2.0 * magnitude);
            const Wide large = (1.0 - decay) / (1.0 + decay),
                       small = magnitude - magnitude * magnitude * magnitude * (1.0 / 3);
            const Wide result = magnitude < 1e-3 ? small : large;
            return x < 0.0 ? -result : result;
        }
        default: return x;
    }
}

// The smooth ones: single precision through double, which rounds once; double precision by the C library.
[[gnu::noinline]] inline Vector<float> activated_lanes(Vector<float> x, Activation activation) {
    typedef float Half __attribute__((vector_size(BACKSTRIDE_BYTES / 2), may_alias));
    Vector<float> result;
    for (int half = 0; half < 2; ++half) {
        const Wide part = __builtin_convertvector(reinterpret_cast<const Half*>(&x)[half], Wide);
        reinterpret_cast<Half*>(&result)[half] = __builtin_convertvector(activated(part, activation), Half);
    }
    return result;
}

[[gnu::noinline]] inline Vector<double> activated_lanes(Vector<double> x, Activation activation) {
    for (Index i = 0; i < Lanes<double>::count; ++i) x[i] = activated(x[i], activation);
    return x;
}

template <typename Scalar>
[[gnu::always_inline]] inline Vector<Scalar> activate(Vector<Scalar> x, Activation activation) {
    switch (activation) {
        case Activation::none: return x;
        case Activation::relu: return x < Scalar(0) ? Vector<Scalar>{} : x;
        case Activation::relu6:
            return x < Scalar(0) ? Vector<Scalar>{} : (x > Scalar(6) ? Vector<Scalar>{} + Scalar(6) : x);
        case Activation::leaky_relu: return x < Scalar(0) ? x * Scalar(0.01) : x;
        default: return activated_lanes(x, activation);
    }
}
