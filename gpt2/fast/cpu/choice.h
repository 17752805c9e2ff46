// The choice of a token, with all that is told of it.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <utility>
#include <vector>

#include "memory.h"

namespace {

constexpr int TOP = 10;

struct Draw {  // as native.py fills it
    uint64_t seed, position;
    double temperature, top_p, min_p, penalty;
    const int32_t* seen;
    int32_t seen_count, top_k, forced, unused;
};

struct Choice {  // as native.py reads it
    int32_t token, rank, bad, top_count;
    double logprob, entropy, sampled_prob;
    int32_t top_ids[TOP];
    float top_probs[TOP], top_sampled[TOP];
};

// NumPy's first random number of Philox(key=[seed, position]) (Salmon et al. 2011).
double uniform(uint64_t seed, uint64_t position) {
    uint64_t counter[4] = {1, 0, 0, 0}, key[2] = {seed, position};
    for (int round = 0; round < 10; round++) {
        const __uint128_t a = (__uint128_t)0xD2E7470EE14C6C93u * counter[0];
        const __uint128_t b = (__uint128_t)0xCA5A826395121157u * counter[2];
        const uint64_t next[4] = {uint64_t(b >> 64) ^ counter[1] ^ key[0], uint64_t(b),
                                  uint64_t(a >> 64) ^ counter[3] ^ key[1], uint64_t(a)};
        memcpy(counter, next, sizeof counter);
        key[0] += 0x9E3779B97F4A7C15u, key[1] += 0xBB67AE8584CAA73Bu;
    }
    return (counter[0] >> 11) * (1.0 / 9007199254740992.0);
}

typedef std::pair<float, int> Candidate;  // a logit and its token

bool better(const Candidate& a, const Candidate& b) {
    return a.first > b.first || (a.first == b.first && a.second < b.second);
}

// The k best of all, best first.
std::vector<Candidate> best_of(const float* logits, int count, int k) {
    std::vector<Candidate> heap;  // its front is the worst that is kept
    heap.reserve(k + 1);
    int i = 0;
    for (; i < count && int(heap.size()) < k; i++) {
        heap.push_back({logits[i], i});
        std::push_heap(heap.begin(), heap.end(), better);
    }
    auto offer = [&](int i) {
        if (!(logits[i] > heap.front().first)) return;
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.back() = {logits[i], i};
        std::push_heap(heap.begin(), heap.end(), better);
    };
    for (; i + LANES <= count; i += LANES) {
        Ints above = load(logits + i) > all(heap.front().first);
        Ints none{};
        if (memcmp(&above, &none, sizeof above) == 0) continue;
        for (int j = i; j < i + LANES; j++) offer(j);
    }
    for (; i < count; i++) offer(i);
    std::sort_heap(heap.begin(), heap.end(), better);
    return heap;
}

// Probabilities of some logits; the largest is known.
void softmax(const std::vector<Candidate>& kept, float largest, std::vector<float>& probs) {
    const int count = kept.size();
    probs.resize(round_up(count));
    for (int i = 0; i < count; i++) probs[i] = kept[i].first - largest;
    double total = 0;
    for (int i = 0; i < count; i += LANES) {
        Floats e = exponential(load(&probs[i]));
        store(&probs[i], e);
        for (int j = i; j < std::min(count, i + LANES); j++) total += probs[j];
    }
    for (int i = 0; i < count; i++) probs[i] = float(probs[i] / total);
}

// Of the kept the fewest that hold a probability of p: those no worse than the last of them, which
// is found by halving the ones that it may be. All that have less than an equal share of 1 - p hold
// less than 1 - p together: it is none of them.
void keep_top_p(std::vector<Candidate>& kept, float largest, double p) {
    std::vector<float> probs;
    softmax(kept, largest, probs);
    std::vector<int> order;
    for (size_t i = 0; i < kept.size(); i++)
        if (probs[i] >= 0.99 * (1 - p) / kept.size()) order.push_back(i);
    auto likelier = [&](int a, int b) { return better(kept[a], kept[b]); };
    double before = 0;  // what is held by the likelier ones than all from `first` on
    size_t first = 0, end = order.size();
    while (end - first > 1) {
        const size_t middle = (first + end) / 2;
        const auto begin = order.begin();
        std::nth_element(begin + first, begin + middle, begin + end, likelier);
        double half = 0;
        for (size_t i = first; i < middle; i++) half += probs[order[i]];
        if (before + half >= p)
            end = middle;
        else
            before += half, first = middle;
    }
    const Candidate last = kept[order[first]];
    auto worse = [&](const Candidate& each) { return better(last, each); };
    kept.erase(std::remove_if(kept.begin(), kept.end(), worse), kept.end());
}

// Calls each(i) for every number that is at least the least; few are.
template <typename Each>
void for_large(const float* numbers, int count, float least, const Each& each) {
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        const Ints there = load(numbers + i) >= all(least), none{};
        if (memcmp(&there, &none, sizeof there) == 0) continue;
        for (int j = i; j < i + LANES; j++)
            if (there[j - i]) each(j);
    }
    for (; i < count; i++)
        if (numbers[i] >= least) each(i);
}

// The tokens that may be drawn, in their order, with their logits as they are drawn from.
std::vector<Candidate> kept_of(const float* logits, int count, const Draw& draw, Candidate best) {
    std::vector<float> penalized;
    if (draw.penalty != 1) {
        penalized.assign(logits, logits + count);
        for (int j = 0; j < draw.seen_count; j++) {
            const float value = logits[draw.seen[j]], penalty = float(draw.penalty);
            penalized[draw.seen[j]] = value > 0 ? value / penalty : value * penalty;
        }
        logits = penalized.data();
        best = best_of(logits, count, 1)[0];
    }
    if (draw.temperature == 0) return {{0.f, best.second}};
    auto heated = [&](float logit) {
        if (draw.temperature >= 1e-3) return logit / float(draw.temperature);
        return (logit - best.first) / float(std::max(draw.temperature, 1e-30));
    };
    float least = -INFINITY;
    if (draw.top_k > 0 && draw.top_k < count) {
        if (draw.top_k <= 1024) {
            least = best_of(logits, count, draw.top_k).back().first;
        } else {
            std::vector<float> ranked(logits, logits + count);
            auto place = ranked.begin() + draw.top_k - 1;
            std::nth_element(ranked.begin(), place, ranked.end(), std::greater<float>());
            least = *place;
        }
    }
    const float last = heated(least);  // ties with it stay, those too that the heat has made
    std::vector<Candidate> kept;
    for_large(logits, count, least - std::abs(least) * 1e-6f, [&](int i) {
        if (const float logit = heated(logits[i]); logit >= last) kept.push_back({logit, i});
    });
    const float largest = heated(best.first);
    if (draw.top_p < 1) keep_top_p(kept, largest, draw.top_p);
    if (draw.min_p > 0) {
        const float floor = largest + float(std::log(draw.min_p));
        auto below = [&](const Candidate& each) { return each.first < floor; };
        kept.erase(std::remove_if(kept.begin(), kept.end(), below), kept.end());
    }
    return kept;
}

// The token at which the cumulative distribution, in the order of the tokens, passes u.
int drawn(const std::vector<Candidate>& kept, const std::vector<float>& probs, double u) {
    double total = 0, end = 0;
    for (size_t i = 0; i < kept.size(); i++) total += probs[i];
    int token = kept[0].second;
    for (size_t i = 0; i < kept.size(); i++) {
        if (!(probs[i] > 0)) continue;
        token = kept[i].second;
        end += probs[i];
        if (end / total > u) break;
    }
    return token;
}

// Choose the next token and describe the choice, as gpt2/sampling.py and prediction.py define it.
void choose(const float* logits, int count, const Draw& draw, Choice& c) {
    const std::vector<Candidate> top = best_of(logits, count, std::min(TOP, count));
    const float most = top[0].first;
    Floats sums{}, products{};
    double total = 0, weighted = 0;  // of e^d, and of d e^d
    int i = 0;
    for (; i + LANES <= count; i += LANES) {
        Floats d = load(logits + i) - most, e = exponential(d);
        d = d < all(-87.f) ? all(-87.f) : d;  // 0 times -inf would be no number
        sums += e;
        products += e * d;
    }
    for (; i < count; i++) {
        const float d = logits[i] - most, e = std::exp(d);
        total += e, weighted += e * std::max(-87.f, d);
    }
    for (int j = 0; j < LANES; j++) total += sums[j], weighted += products[j];
    c.bad = !std::isfinite(most) || !std::isfinite(total);
    if (c.bad) return;
    const double log_total = std::log(total);
    c.entropy = log_total - weighted / total;

    const std::vector<Candidate> kept = kept_of(logits, count, draw, top[0]);
    float largest = -INFINITY;
    for (const Candidate& each : kept) largest = std::max(largest, each.first);
    std::vector<float> probs;
    softmax(kept, largest, probs);
    const double u = draw.forced < 0 ? uniform(draw.seed, draw.position) : 0;
    c.token = draw.forced < 0 ? drawn(kept, probs, u) : draw.forced;

    auto sampled = [&](int token) {
        auto before = [](const Candidate& a, int b) { return a.second < b; };
        auto place = std::lower_bound(kept.begin(), kept.end(), token, before);
        const bool there = place != kept.end() && place->second == token;
        return there ? probs[place - kept.begin()] : 0.f;
    };
    const float own = logits[c.token];
    c.logprob = double(own - most) - log_total;
    c.sampled_prob = sampled(c.token);
    c.rank = 1;
    for (i = 0; i < count; i++) c.rank += logits[i] > own;
    c.top_count = top.size();
    for (size_t j = 0; j < top.size(); j++) {
        c.top_ids[j] = top[j].second;
        c.top_probs[j] = float(std::exp(double(top[j].first - most) - log_total));
        c.top_sampled[j] = sampled(top[j].second);
    }
}

}  // namespace
