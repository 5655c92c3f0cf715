// The loops over a row of logits, which has an entry for every token of the vocabulary.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "bridge.h"
#include "guard.h"

using bridge::guarded;

namespace {

bool better(const llama_token_data & a, const llama_token_data & b) {
    return a.logit > b.logit;
}

void all_candidates(std::vector<llama_token_data> & to, const float * logits, int32_t n_vocab) {
    to.resize(n_vocab);
    for (int32_t id = 0; id < n_vocab; ++id) {
        to[id] = { id, logits[id], 0.0f };
    }
}

// The n best in descending order, as a top-k sampler leaves them. Most of the row loses against the
// worst of those kept, so one comparison per token does it.
void best_candidates(std::vector<llama_token_data> & to, const float * logits, int32_t n_vocab, int32_t n) {
    to.clear();
    int32_t id = 0;
    for (; id < n; ++id) {
        to.push_back({ id, logits[id], 0.0f });
    }
    std::make_heap(to.begin(), to.end(), better);
    float worst = to.front().logit;
    constexpr int32_t block = 16;
    while (id < n_vocab) {
        const int32_t end = std::min(id + block, n_vocab);
        float highest = logits[id];
        for (int32_t i = id + 1; i < end; ++i) {
            highest = std::max(highest, logits[i]);
        }
        for (; highest > worst && id < end; ++id) {
            if (logits[id] > worst) {
                std::pop_heap(to.begin(), to.end(), better);
                to.back() = { id, logits[id], 0.0f };
                std::push_heap(to.begin(), to.end(), better);
                worst = to.front().logit;
            }
        }
        id = end;
    }
    std::sort_heap(to.begin(), to.end(), better);
}

llama_token chosen(llama_sampler * chain, llama_token_data_array & candidates) {
    llama_sampler_apply(chain, &candidates);
    if (candidates.selected < 0 || candidates.selected >= static_cast<int64_t>(candidates.size)) {
        throw std::runtime_error("no sampler of the chain chose a token");
    }
    const llama_token_data & token = candidates.data[candidates.selected];
    if (token.logit == -INFINITY) {
        throw std::runtime_error("every token is forbidden here (their logits are all -infinity)");
    }
    return token.id;
}

bool allows(llama_sampler * grammar, llama_token token) {
    llama_token_data       entry = { token, 0.0f, 0.0f };
    llama_token_data_array one   = { &entry, 1, -1, false };
    llama_sampler_apply(grammar, &one);
    return entry.logit == 0.0f;
}

// exp for x in [-87, 0] to about 1e-7, in a form that compilers vectorize: 2^n by its bits, the rest
// by a polynomial (the minimax one of the Cephes library, expf.c).
inline float exp_of(float x) {
    constexpr float round_to_int = 12582912.0f;  // 1.5 * 2^23: adding it leaves no fraction
    const float shifted = x * 1.44269504f + round_to_int;
    const float n       = shifted - round_to_int;
    const float r       = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float       p       = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
    float         power;
    std::memcpy(&power, &bits, sizeof(power));
    return p * power;
}

double log_sum_exp(const float * logits, int32_t n_vocab) {
    const float highest = *std::max_element(logits, logits + n_vocab);
    double      sum     = 0.0;
    for (int32_t first = 0; first < n_vocab; first += 1024) {
        const int32_t count = std::min(n_vocab - first, 1024);
        float         lanes[16] = {};
        int32_t       i = 0;
        for (; i + 16 <= count; i += 16) {
            for (int32_t lane = 0; lane < 16; ++lane) {
                lanes[lane] += exp_of(std::max(logits[first + i + lane] - highest, -87.0f));
            }
        }
        for (; i < count; ++i) {
            lanes[0] += exp_of(std::max(logits[first + i] - highest, -87.0f));
        }
        for (float lane : lanes) {
            sum += lane;
        }
    }
    return highest + std::log(sum);
}

}  // namespace

llama_token bridge_sample(
        llama_sampler * chain, llama_sampler * grammar, const float * logits, int32_t n_vocab,
        int32_t n_best, char ** error) {
    return guarded(error, static_cast<llama_token>(LLAMA_TOKEN_NULL), [&] {
        static thread_local std::vector<llama_token_data> row;
        const bool some = 0 < n_best && n_best < n_vocab;
        if (some) {
            best_candidates(row, logits, n_vocab, n_best);
        } else {
            all_candidates(row, logits, n_vocab);
        }
        llama_token_data_array candidates = { row.data(), row.size(), -1, some };
        llama_token            token      = chosen(chain, candidates);
        if (grammar != nullptr && !allows(grammar, token)) {
            all_candidates(row, logits, n_vocab);
            candidates = { row.data(), row.size(), -1, false };
            llama_sampler_apply(grammar, &candidates);
            row.erase(std::remove_if(row.begin(), row.end(),
                                     [](const llama_token_data & each) { return each.logit == -INFINITY; }),
                      row.end());
            if (row.empty()) {
                throw std::runtime_error("the grammar allows no token here");
            }
            candidates = { row.data(), row.size(), -1, false };
            token = chosen(chain, candidates);
        }
        llama_sampler_accept(chain, token);
        if (grammar != nullptr) {
            llama_sampler_accept(grammar, token);
        }
        return token;
    });
}

float bridge_top_logprobs(
        const float * logits, int32_t n_vocab, llama_token token, int32_t n_top, llama_token * ids,
        float * logprobs) {
    const double total = log_sum_exp(logits, n_vocab);
    if (n_top > 0) {
        static thread_local std::vector<llama_token_data> row;
        best_candidates(row, logits, n_vocab, std::min(n_top, n_vocab));
        for (size_t i = 0; i < row.size(); ++i) {
            ids[i]      = row[i].id;
            logprobs[i] = static_cast<float>(row[i].logit - total);
        }
    }
    return static_cast<float>(logits[token] - total);
}
