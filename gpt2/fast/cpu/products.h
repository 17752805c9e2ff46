// Products of any rows with a whole matrix, on all threads.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "memory.h"
#include "pool.h"
#include "tiles.h"

namespace {

enum Kind { FLOAT32, BFLOAT16, INT8 };

struct Matrix {  // as native_model.py fills it
    const void* weights;  // [out, in]
    const float* scale;   // [out] of int8, else null
    const float* bias;    // [out] or null
    int32_t out, in, kind;
};

// One number of a matrix, by its place among all and its row.
inline float number(const Matrix& m, int64_t place, int row) {
    if (m.kind == INT8) return static_cast<const int8_t*>(m.weights)[place] * m.scale[row];
    if (m.kind == FLOAT32) return static_cast<const float*>(m.weights)[place];
    const uint32_t bits = uint32_t(static_cast<const uint16_t*>(m.weights)[place]) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

constexpr int LONG_BYTES = 1 << 21;   // of a matrix that takes a thread a tenth of a millisecond
constexpr int PART_BYTES = 1 << 18;   // of weights that many rows are multiplied with
constexpr int INPUT_BYTES = 3 << 17;  // of rows in a part: they stay in a core's own cache

int64_t row_bytes(const Matrix& m) {
    return int64_t(m.in) * (m.kind == FLOAT32 ? 4 : m.kind == BFLOAT16 ? 2 : 1);
}

// Outputs in a part of a product with few rows, which takes as long as reading the weights does:
// memory is quickest in long stretches. A matrix that takes long is cut once more, lest a thread
// that was held up is waited for.
int outs_in_a_row(const Matrix& m, int threads) {
    const int parts = m.out * row_bytes(m) > LONG_BYTES ? 2 * threads : threads;
    return ((m.out + parts - 1) / parts + STEP - 1) / STEP * STEP;
}

// A part of a matrix as the numbers that it is multiplied with, output after output.
template <typename Weight, typename Number = typename Factors<Weight>::Number>
Part<Number> unpacked(const Part<Weight>& part) {
    constexpr int COUNT = sizeof(Floats) / sizeof(Number);
    const int step = (part.in + COUNT - 1) / COUNT * COUNT;
    thread_local Buffer room;
    Number* numbers = room.of<Number>(int64_t(part.out) * step);
    for (int o = 0; o < part.out; o++)
        for (int i = 0; i < part.in; i += COUNT) {
            const Weight* place = part.weights + o * part.step + i;
            const int left = part.in - i;
            const auto v = left < COUNT ? load_some(place, left) : load(place);
            memcpy(numbers + int64_t(o) * step + i, &v, sizeof v);
        }
    return {numbers, step, part.out, part.in, part.first, part.far};
}

// Rows of numbers to multiply with, and what 1 means in each of them.
template <typename Number>
struct Input {
    const Number* numbers;
    int64_t step;  // from one row to the next
    const float* units;
};

constexpr float MOST = 32767;  // in a row of integers

// Rows as integers, the largest number of each being the most. They are exact to a 65,000th part of
// it; products of theirs with an int8 are exact, and so are their sums.
Input<int16_t> wholes(Pool& pool, const float* x, int64_t x_step, int in, int rows) {
    static Buffer room, units_room;  // one product at a time
    const int step = row_step<2 * LANES>(in);
    int16_t* numbers = room.of<int16_t>(int64_t(rows) * step);
    float* units = units_room.of<float>(rows);
    auto one = [&](int r) {
        const float* row = x + r * x_step;
        Floats most{}, none{};
        for (int i = 0; i < in; i += LANES) {
            const Floats v = load(row + i), size = v < -v ? -v : v;
            most = size > most ? size : most;
            none += v * 0.f;  // is no number if one of them is none
        }
        float largest = 0;
        for (int i = 0; i < LANES; i++) largest = std::max(largest, most[i]);
        const float rate = largest > 1e-30f ? MOST / largest : 0;  // or it would be infinite
        units[r] = largest / MOST + sum(none);
        for (int i = 0; i < step; i += LANES) {
            const Floats v = i < in ? load(row + i) * rate : Floats{};
            const FewHalves few = __builtin_convertvector(nearest(v), FewHalves);
            memcpy(numbers + int64_t(r) * step + i, &few, sizeof few);
        }
    };
    if (rows > ROWS)
        pool.run(rows, one);
    else
        for (int r = 0; r < rows; r++) one(r);
    return {numbers, step, units};
}

// Outputs [from, to) of some rows. The weights for many rows, in goes of a part of the inputs, stay
// in a core's own cache, in the form in which they are multiplied.
template <typename Weight, typename Number>
void block(const Matrix& m, const Number* x, int64_t x_step, int rows, bool many, float* y,
           int64_t y_step, int from, int to) {
    const Weight* w = static_cast<const Weight*>(m.weights) + int64_t(from) * m.in;
    const int go = many ? DEPTH / int(sizeof(Number)) : m.in;
    for (int i = 0; i < m.in; i += go) {
        const Part<Weight> part{w + i, m.in, to - from, std::min(go, m.in - i), i == 0, !many};
        if (sizeof(Weight) == sizeof(Number) || !many)
            strips(part, x + i, x_step, rows, y + from, y_step);
        else
            strips(unpacked(part), x + i, x_step, rows, y + from, y_step);
    }
}

// y = x w^T + bias for all rows; then(r, from, to) is called for each row's piece as it is done.
template <typename Weight, typename Then>
void product_with(Pool& pool, const Matrix& m, const float* x, int64_t x_step, int rows, float* y,
                  int64_t y_step, const Then& then) {
    typedef typename Factors<Weight>::Number Number;
    Input<Number> input;
    if constexpr (std::is_same_v<Number, float>)
        input = {x, x_step, nullptr};
    else
        input = wholes(pool, x, x_step, m.in, rows);
    const bool many = rows > ROWS;
    const int bytes = std::min<int>(m.in * sizeof(Number), DEPTH);
    const int outs = many ? std::max(STEP, PART_BYTES / bytes / STEP * STEP)
                          : outs_in_a_row(m, pool.threads);
    const int down = (rows * bytes + INPUT_BYTES - 1) / INPUT_BYTES;
    const int most = ((rows + down - 1) / down + STRIP - 1) / STRIP * STRIP;
    const int across = (m.out + outs - 1) / outs;
    pool.run(across * ((rows + most - 1) / most), [&](int part) {
        const int first = part / across * most, from = part % across * outs;
        const int last = std::min(rows, first + most), to = std::min(m.out, from + outs);
        block<Weight>(m, input.numbers + first * input.step, input.step, last - first, many,
                      y + first * y_step, y_step, from, to);
        for (int r = first; r < last; r++) {
            float* row = y + r * y_step;
            if (m.scale)
                for (int o = from; o < to; o++) row[o] *= m.scale[o] * input.units[r];
            if (m.bias)
                for (int o = from; o < to; o++) row[o] += m.bias[o];
            then(r, from, to);
        }
    });
}

template <typename Then>
void product(Pool& pool, const Matrix& m, const float* x, int64_t x_step, int rows, float* y,
             int64_t y_step, const Then& then) {
    if (m.kind == FLOAT32) product_with<float>(pool, m, x, x_step, rows, y, y_step, then);
    if (m.kind == BFLOAT16) product_with<BFloat16>(pool, m, x, x_step, rows, y, y_step, then);
    if (m.kind == INT8) product_with<int8_t>(pool, m, x, x_step, rows, y, y_step, then);
}

}  // namespace
