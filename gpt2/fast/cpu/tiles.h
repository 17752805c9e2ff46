// A part of a product that fits a core: some rows times some of a matrix's.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "vectors.h"

namespace {

// Sums of x[r] . w[o] lane by lane, for R rows and O outputs, over `length` inputs.
template <int R, int O, bool FAR, typename Weight, typename Number>
INLINE void add_up(const Number* x, int64_t x_step, const Weight* w, int64_t w_step, int length,
                   Floats (&all_sums)[R][O]) {
    typedef typename Factors<Weight>::Vector Vector;
    constexpr int COUNT = sizeof(Vector) / sizeof(Number);
    typename Factors<Weight>::Sums sums[R][O] = {};  // of its own: in registers
    int64_t i = 0;
    for (; i + COUNT <= length; i += COUNT) {
        if constexpr (R > 1) HIDE(i);
        Vector weights[O];
        for (int o = 0; o < O; o++) {
            const Weight* place = w + o * w_step + i;
            weights[o] = load(place);
            if constexpr (FAR && (R > 1 || sizeof(Weight) < 4))  // one row's are found without
                __builtin_prefetch(reinterpret_cast<const char*>(place) + AHEAD);
        }
        for (int r = 0; r < R; r++) {
            Vector a = load(x + r * x_step + i);
            KEEP(a);
            for (int o = 0; o < O; o++) sums[r][o] = plus_product(sums[r][o], a, weights[o]);
        }
    }
    if (i < length) {  // what x has beyond its end is 0
        for (int o = 0; o < O; o++) {
            const Vector some = load_some(w + o * w_step + i, length - i);
            for (int r = 0; r < R; r++)
                sums[r][o] = plus_product(sums[r][o], load(x + r * x_step + i), some);
        }
    }
    for (int r = 0; r < R; r++)
        for (int o = 0; o < O; o++) all_sums[r][o] = floats(sums[r][o]);
}

// y[r][o], or what they gain, from the sums' lanes.
template <bool GAIN, int R, int O>
INLINE void finish(const Floats (&sums)[R][O], float* y, int64_t y_step) {
    const Floats* flat = &sums[0][0];
    if constexpr (O == 4) {
        auto put = [&](int r, Four four) {
            if (GAIN) four = read<Four>(y + r * y_step) + four;
            memcpy(y + r * y_step, &four, sizeof four);
        };
        int r = 0;
#if defined(__AVX512F__)
        for (; r + 4 <= R; r += 4) {
            const __m512 rows = sums_of_rows(flat + 4 * r);
            put(r, (Four)_mm512_extractf32x4_ps(rows, 0));
            put(r + 1, (Four)_mm512_extractf32x4_ps(rows, 1));
            put(r + 2, (Four)_mm512_extractf32x4_ps(rows, 2));
            put(r + 3, (Four)_mm512_extractf32x4_ps(rows, 3));
        }
#endif
        for (; r < R; r++) put(r, sums_of(flat + 4 * r));
    } else {
        for (int i = 0; i < R * O; i += 4) {
            Floats some[4];
            for (int j = 0; j < 4; j++) some[j] = flat[std::min(i + j, R * O - 1)];
            const Four four = sums_of(some);
            for (int j = i; j < std::min(i + 4, R * O); j++) {
                float& place = y[j / O * y_step + j % O];
                place = GAIN ? place + four[j - i] : four[j - i];
            }
        }
    }
}

template <int R, int O, bool FAR, bool GAIN = false, typename Weight, typename Number>
INLINE void tile(const Number* x, int64_t x_step, const Weight* w, int64_t w_step, int length,
                 float* y, int64_t y_step) {
    Floats sums[R][O];
    add_up<R, O, FAR>(x, x_step, w, w_step, length, sums);
    finish<GAIN, R, O>(sums, y, y_step);
}

// The same for rows of any length, which are multiplied in goes: what the next go adds to y does
// not depend on whether it comes at once or after those of other rows.
template <int R, int O, bool FAR, typename Weight, typename Number>
INLINE void tile_along(const Number* x, int64_t x_step, const Weight* w, int64_t w_step, int length,
                       float* y, int64_t y_step, bool gain) {
    constexpr int GO = DEPTH / sizeof(Number);
    int i = 0;
    if (!gain) {
        tile<R, O, FAR>(x, x_step, w, w_step, std::min(GO, length), y, y_step);
        i = GO;
    }
    for (; i < length; i += GO)
        tile<R, O, FAR, true>(x + i, x_step, w + i, w_step, std::min(GO, length - i), y, y_step);
}

// A matrix, or a part of its outputs and inputs.
template <typename Weight>
struct Part {
    const Weight* weights;
    int64_t step;  // from one output's to the next
    int out, in;
    bool first, far;  // whether it has the first inputs; whether it comes from memory
};

// Its products with R rows.
template <int R, bool FAR, typename Weight, typename Number>
void tiles(const Part<Weight>& part, const Number* x, int64_t x_step, float* y, int64_t y_step) {
    constexpr int O = outs_beside(R);
    const Weight* w = part.weights;
    int o = 0;
    for (; o + O <= part.out; o += O, w += O * part.step)
        tile_along<R, O, FAR>(x, x_step, w, part.step, part.in, y + o, y_step, !part.first);
    for (; o < part.out; o++, w += part.step)
        tile_along<R, 1, FAR>(x, x_step, w, part.step, part.in, y + o, y_step, !part.first);
}

template <int N>
using Int = std::integral_constant<int, N>;

// Calls what(Int<n>()) for an n from 1 to the most.
template <int MOST, typename What>
INLINE void with_constant(int n, const What& what) {
    if constexpr (MOST > 1)
        if (n < MOST) return with_constant<MOST - 1>(n, what);
    what(Int<MOST>());
}

// Its products with any rows, in strips of about as many.
template <typename Weight, typename Number>
void strips(const Part<Weight>& part, const Number* x, int64_t x_step, int rows, float* y,
            int64_t y_step) {
    const int high = part.far ? ROWS : STRIP;
    for (int left = (rows + high - 1) / high, r = 0; left; left--) {
        const int count = (rows - r + left - 1) / left;
        auto strip = [&](auto of, auto far) {
            tiles<of.value, far.value>(part, x + r * x_step, x_step, y + r * y_step, y_step);
        };
        if (part.far)
            with_constant<ROWS>(count, [&](auto of) { strip(of, std::true_type()); });
        else
            with_constant<STRIP>(count, [&](auto of) { strip(of, std::false_type()); });
        r += count;
    }
}

}  // namespace
