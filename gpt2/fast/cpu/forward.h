// The forward pass: from tokens to the hidden vectors behind the last block.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "products.h"

namespace {

struct Norm {
    const float *weight, *bias;
};

struct Layer {  // as native_model.py fills it
    Norm ln_1;
    Matrix c_attn, attn_proj;
    Norm ln_2;
    Matrix c_fc, mlp_proj;
};

struct Shape {  // as native_model.py fills it
    int32_t vocab_size, n_ctx, n_embd, n_layer, n_head;
    float epsilon;
    int32_t threads, unused;
    Matrix wte;  // the embeddings and the head
    const float* wpe;
    Norm ln_f;
};

struct Row {  // as native.py fills it
    int32_t token, position;
    float *keys, *values;  // [L, H, capacity, D] of its text
    int64_t capacity;
    const float* factors;  // [L, H + 2]: of each head, of the MLP, of the whole block; null for 1
    int32_t wanted, unused;
};

constexpr int AT_ONCE = 1024;  // rows; more are read in parts
constexpr int TOGETHER = STRIP > 4 ? 6 : 4;  // queries of one text
constexpr int WIDEST_HEAD = 1024;

struct Model {
    Shape shape;
    Pool& pool;
    std::vector<Layer> layers;
    int C, D, step, wide;  // step and wide: from one row to the next of [R, C] and of [R, 4 C]
    Buffer stream, normed, mixed, hidden;
    int rows = 0;  // that they have room for

    Model(const Shape& s, const Layer* l) : shape(s), pool(pool_of(s.threads)), layers(l, l + s.n_layer) {
        C = s.n_embd, D = C / s.n_head, step = row_step(C), wide = row_step(4 * C);
    }

    void make_room(int wanted) {
        if (wanted <= rows) return;
        rows = wanted;
        for (Buffer* buffer : {&stream, &normed, &mixed}) buffer->make(size_t(rows) * step);
        hidden.make(size_t(rows) * wide);
    }
};

void normalize(const Norm& norm, const float* x, int C, float epsilon, float* y) {
    Floats total{};
    int i = 0;
    for (; i + LANES <= C; i += LANES) total += load(x + i);
    float mean = sum(total);
    for (; i < C; i++) mean += x[i];
    mean /= C;
    Floats squares{};
    for (i = 0; i + LANES <= C; i += LANES) {
        Floats d = load(x + i) - mean;
        squares += d * d;
    }
    float variance = sum(squares);
    for (; i < C; i++) variance += (x[i] - mean) * (x[i] - mean);
    const float rate = 1.f / std::sqrt(variance / C + epsilon);
    for (i = 0; i < C; i++) y[i] = (x[i] - mean) * rate * norm.weight[i] + norm.bias[i];
}

// Scores of Q queries, each [span], to probabilities. The first one sees `seen` tokens, each further
// one another; what the others see and it does not is 0 for it.
void to_probabilities(float* scores, int span, int seen, int rows, float* wholes) {
    for (int q = 0; q < rows; q++) {
        float* row = scores + int64_t(q) * span;
        for (int t = seen + q; t < span; t++) row[t] = -INFINITY;
        Floats most = load(row), total{};
        for (int t = LANES; t < span; t += LANES) {
            Floats next = load(row + t);
            most = next > most ? next : most;
        }
        float top = most[0];
        for (int i = 1; i < LANES; i++) top = std::max(top, most[i]);
        for (int t = 0; t < span; t += LANES) {
            Floats there = load(row + t), e = exponential(there - top);
            e = there > all(-INFINITY) ? e : Floats{};
            total += e;
            store(row + t, e);
        }
        wholes[q] = 1.f / sum(total);
    }
}

// W vectors of Q sums of the values, each token's times its probability. Of a last vector that is
// not full there are only some numbers.
template <int Q, int W>
INLINE void mix(const float* probs, int span, const float* values, int count, int D,
                const float* wholes, float* y, int64_t y_step, int some = LANES) {
    Floats sums[Q][W] = {};
    for (int t = 0; t < count; t++, values += D) {
        Floats value[W];
        for (int i = 0; i < W; i++)
            value[i] = some == LANES ? load(values + i * LANES) : load_some(values, some);
        for (int q = 0; q < Q; q++) {
            Floats share = all(probs[q * span + t]);
            KEEP(share);
            for (int i = 0; i < W; i++) sums[q][i] = plus_product(sums[q][i], share, value[i]);
        }
    }
    for (int q = 0; q < Q; q++)
        for (int i = 0; i < W; i++) {
            Floats mixed = sums[q][i] * wholes[q];
            memcpy(y + q * y_step + i * LANES, &mixed, some * sizeof(float));
        }
}

// One head's answers to the queries of Q tokens that follow each other, [Q, D] in rows a step apart.
// The first one sees `seen` tokens' keys and values, [n, D], and each further one another.
template <int Q>
void attend(const float* queries, int64_t q_step, const float* keys, const float* values, int seen,
            int D, float* y, int64_t y_step) {
    const int count = seen + Q - 1, span = round_up(count);
    thread_local Buffer room;
    float *scores = room.of<float>(size_t(Q) * span), wholes[Q];
    int t = 0;
    for (; t + 4 <= count; t += 4)
        tile<Q, 4, Q == 1>(queries, q_step, keys + int64_t(t) * D, D, D, scores + t, span);
    for (; t < count; t++)
        tile<Q, 1, Q == 1>(queries, q_step, keys + int64_t(t) * D, D, D, scores + t, span);
    to_probabilities(scores, span, seen, Q, wholes);
    int d = 0;
    auto mixed = [&](auto width) {
        for (; d + width.value * LANES <= D; d += width.value * LANES)
            mix<Q, width.value>(scores, span, values + d, count, D, wholes, y + d, y_step);
    };
    if (LANES == 16 || Q == 1) mixed(Int<4>());
    mixed(Int<2>());
    mixed(Int<1>());
    if (d < D) mix<Q, 1>(scores, span, values + d, count, D, wholes, y + d, y_step, D - d);
}

// The rows' final hidden vectors, normalised: those that are wanted, one after the other.
float* read_rows(Model& m, const Row* rows, int count, float* wanted) {
    const Shape& s = m.shape;
    Pool& pool = m.pool;
    const int C = m.C, D = m.D, H = s.n_head, step = m.step, wide = m.wide;
    m.make_room(count);
    float *x = m.stream.data, *normed = m.normed.data, *mixed = m.mixed.data;
    float* hidden = m.hidden.data;
    for (int r = 0; r < count; r++) {
        float* place = x + int64_t(r) * step;
        const float* position = s.wpe + int64_t(rows[r].position) * C;
        const int64_t first = int64_t(rows[r].token) * C;
        for (int i = 0; i < C; i++) place[i] = number(s.wte, first + i, rows[r].token) + position[i];
    }
    const float scale = 1.f / std::sqrt(float(D));
    std::vector<std::pair<int, int>> groups;  // of rows whose attention is computed at once
    for (int r = 0; r < count;) {
        int n = 1;
        while (n < TOGETHER && r + n < count && rows[r + n].keys == rows[r].keys &&
               rows[r + n].position == rows[r].position + n)
            n++;
        groups.push_back({r, n});
        r += n;
    }
    auto norm_all = [&](const Norm& norm) {
        auto one = [&](int r) {
            normalize(norm, x + int64_t(r) * step, C, s.epsilon, normed + int64_t(r) * step);
        };
        if (count < 4) {
            for (int r = 0; r < count; r++) one(r);
        } else {
            pool.run(count, one);
        }
    };
    for (int layer = 0; layer < s.n_layer; layer++) {
        const Layer& l = m.layers[layer];
        auto factor = [&](int r, int which) {
            return rows[r].factors ? rows[r].factors[layer * (H + 2) + which] : 1.f;
        };
        norm_all(l.ln_1);
        product(pool, l.c_attn, normed, step, count, hidden, wide, [&](int r, int from, int to) {
            const Row& row = rows[r];
            for (int o = std::max(from, C); o < to;) {  // keys and values go to the text's own
                const int head = o % C / D, d = o % D, n = std::min(to - o, D - d);
                float* text = o < 2 * C ? row.keys : row.values;
                float* place = text + ((int64_t(layer) * H + head) * row.capacity + row.position) * D;
                memcpy(place + d, hidden + int64_t(r) * wide + o, n * sizeof(float));
                o += n;
            }
        });
        pool.run(int(groups.size()) * H, [&](int part) {
            const int head = part % H;
            const auto [r, queries] = groups[part / H];
            const Row& row = rows[r];
            const int64_t first = (int64_t(layer) * H + head) * row.capacity * D;
            alignas(64) float scaled[TOGETHER * WIDEST_HEAD];
            const int q_step = round_up(D);
            float* y = mixed + int64_t(r) * step + head * D;
            for (int q = 0; q < queries; q++) {
                const float* query = hidden + int64_t(r + q) * wide + head * D;
                for (int d = 0; d < q_step; d++) scaled[q * q_step + d] = d < D ? query[d] * scale : 0;
            }
            auto answer = [&](auto count) {
                attend<count.value>(scaled, q_step, row.keys + first, row.values + first,
                                    row.position + 1, D, y, step);
            };
            with_constant<TOGETHER>(queries, answer);
            for (int q = 0; q < queries; q++)
                if (const float share = factor(r + q, head); share != 1.f)
                    for (int d = 0; d < D; d++) y[int64_t(q) * step + d] *= share;
        });
        product(pool, l.attn_proj, mixed, step, count, normed, step, [&](int r, int from, int to) {
            const float whole = factor(r, H + 1);
            float *to_stream = x + int64_t(r) * step, *y = normed + int64_t(r) * step;
            for (int o = from; o < to; o++) to_stream[o] += y[o] * whole;
        });
        norm_all(l.ln_2);
        product(pool, l.c_fc, normed, step, count, hidden, wide, [&](int r, int from, int to) {
            float* y = hidden + int64_t(r) * wide;
            int o = from;
            for (; o + LANES <= to; o += LANES) store(y + o, gelu(load(y + o)));
            if (o < to) {
                Floats last = gelu(load_some(y + o, to - o));
                memcpy(y + o, &last, (to - o) * sizeof(float));
            }
        });
        product(pool, l.mlp_proj, hidden, wide, count, normed, step, [&](int r, int from, int to) {
            const float share = factor(r, H) * factor(r, H + 1);
            float *to_stream = x + int64_t(r) * step, *y = normed + int64_t(r) * step;
            for (int o = from; o < to; o++) to_stream[o] += y[o] * share;
        });
    }
    for (int r = 0; r < count; r++) {
        if (!rows[r].wanted) continue;
        normalize(s.ln_f, x + int64_t(r) * step, C, s.epsilon, wanted);
        wanted += C;
    }
    return wanted;
}

}  // namespace
