// GPT-2 on a CPU: the forward pass over rows of tokens, and the choice of the next ones.
//
// A row is one token of one text, with that text's keys and values. Rows of many texts, or many of
// one, are read at once: the matrices come from memory once for all of them, which is what takes
// the time. No sum depends on which rows are read together: each element of a product is added up
// on its own, lane by lane over the inputs in their order. So a text is the same to the last bit
// alone or beside others, read at once or in parts.
//
// The weights are torch's own memory, [out, in]: float32, bfloat16, or int8 with a scale a row.
// Everything else is float32, but for what int8 is multiplied with: the inputs are rounded to 16
// bits, and their products are whole numbers, added up exactly. native.py is the other side of the
// extern "C" functions here.
//
// cpu/: vectors.h and memory.h, pool.h, tiles.h and products.h, forward.h, choice.h, in this order.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "cpu/choice.h"
#include "cpu/forward.h"

namespace {

std::mutex at_work;  // one caller at a time: all models share the pool

}  // namespace

extern "C" {

Model* model_new(const Shape* shape, const Layer* layers) { return new Model(*shape, layers); }

void model_free(Model* model) { delete model; }

// The wanted rows' final hidden vectors, [wanted, C].
void model_read(Model* model, const Row* rows, int count, float* hidden) {
    std::lock_guard<std::mutex> lock(at_work);
    for (int first = 0; first < count; first += AT_ONCE)
        hidden = read_rows(*model, rows + first, std::min(AT_ONCE, count - first), hidden);
}

// Their logits: [count, C] to [count, V].
void model_logits(Model* model, const float* hidden, int count, float* logits) {
    std::lock_guard<std::mutex> lock(at_work);
    const int C = model->C, step = model->step, V = model->shape.vocab_size;
    for (int first = 0; first < count; first += AT_ONCE) {
        const int rows = std::min(AT_ONCE, count - first);
        model->make_room(rows);
        float* x = model->normed.data;
        for (int r = 0; r < rows; r++)
            memcpy(x + int64_t(r) * step, hidden + int64_t(first + r) * C, C * sizeof(float));
        product(model->pool, model->shape.wte, x, step, rows, logits + int64_t(first) * V, V,
                [](int, int, int) {});
    }
}

// A token for each row of logits, [count, V].
void model_choose(Model* model, const float* logits, const Draw* draws, Choice* choices, int count) {
    std::lock_guard<std::mutex> lock(at_work);
    const int V = model->shape.vocab_size;
    model->pool.run(count,
                    [&](int r) { choose(logits + int64_t(r) * V, V, draws[r], choices[r]); });
}

}  // extern "C"
