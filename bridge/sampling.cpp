// The loops over a row of logits, which has an entry for every token of the vocabulary.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <vector>

#include "bridge.h"
#include "guard.h"

using bridge::guarded;

// One version per vector width, chosen when the library is loaded: a wheel runs on any x86-64.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#    define VECTORIZED __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#    define INLINED inline __attribute__((always_inline))
#else
#    define VECTORIZED
#    define INLINED inline
#endif

namespace {

bool better(const llama_token_data & a, const llama_token_data & b) {
    return a.logit > b.logit;
}

using candidates_t = std::vector<llama_token_data>;

struct biases_t {
    const llama_logit_bias * data;
    int32_t                  size;
};

void all_candidates(candidates_t & to, const float * logits, int32_t n_vocab, biases_t biases) {
    to.resize(n_vocab);
    for (int32_t id = 0; id < n_vocab; ++id) {
        to[id] = { id, logits[id], 0.0f };
    }
    for (int32_t i = 0; i < biases.size; ++i) {
        to[biases.data[i].token].logit += biases.data[i].bias;
    }
}

// The highest logit of each block.
VECTORIZED void block_maxima(float * to, const float * logits, int32_t n_vocab, int32_t block) {
    for (int32_t first = 0; first < n_vocab; first += block) {
        const int32_t end     = std::min(first + block, n_vocab);
        float         highest = -INFINITY;
        for (int32_t id = first; id < end; ++id) {
            highest = logits[id] > highest ? logits[id] : highest;
        }
        *to++ = highest;
    }
}

// The n best in descending order, as a top-k sampler leaves them. The nth highest of the maxima of
// blocks is a floor that at least n logits reach, and not many more. Both passes over the row have
// no branch that depends on a single logit, which a processor would guess wrong.
void best_candidates(candidates_t & to, const float * logits, int32_t n_vocab, int32_t n) {
    const int32_t block = std::clamp(n_vocab / (8 * n), 16, 256);
    const int32_t count = (n_vocab + block - 1) / block;
    float         floor = -INFINITY;
    static thread_local std::vector<float> maxima, sorted;
    maxima.resize(count);
    block_maxima(maxima.data(), logits, n_vocab, block);
    if (count > n) {
        sorted = maxima;
        std::nth_element(sorted.begin(), sorted.begin() + (n - 1), sorted.end(), std::greater<float>());
        floor = sorted[n - 1];
    }
    size_t size = 0;
    for (int32_t i = 0; i < count; ++i) {
        if (maxima[i] < floor) {
            continue;
        }
        const int32_t first = i * block;
        const int32_t end   = std::min(first + block, n_vocab);
        if (to.size() < size + block) {
            to.resize(2 * size + block);
        }
        for (int32_t id = first; id < end; ++id) {
            to[size] = { id, logits[id], 0.0f };
            size += logits[id] >= floor;
        }
    }
    to.resize(size);
    if (static_cast<int32_t>(size) < n) {  // a NaN reaches nothing
        all_candidates(to, logits, n_vocab, {});
        for (llama_token_data & each : to) {
            each.logit = std::isnan(each.logit) ? -INFINITY : each.logit;
        }
    }
    std::nth_element(to.begin(), to.begin() + (n - 1), to.end(), better);
    to.resize(n);
    std::sort(to.begin(), to.end(), better);
}

// The same with biases: no other token than a biased one can come to the best, and for each that
// leaves them one of the next best does.
void best_candidates(candidates_t & to, const float * logits, int32_t n_vocab, int32_t n, biases_t biases) {
    if (n + biases.size >= n_vocab) {
        all_candidates(to, logits, n_vocab, biases);
    } else {
        best_candidates(to, logits, n_vocab, n + biases.size);
        for (int32_t i = 0; i < biases.size; ++i) {
            const llama_token id = biases.data[i].token;
            const auto found = std::find_if(to.begin(), to.end(), [id](const llama_token_data & each) {
                return each.id == id;
            });
            if (found == to.end()) {
                to.push_back({ id, logits[id] + biases.data[i].bias, 0.0f });
            } else {
                found->logit += biases.data[i].bias;
            }
        }
    }
    std::sort(to.begin(), to.end(), better);
    to.resize(n);
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
INLINED float exp_of(float x) {
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

constexpr int32_t lanes = 16;

VECTORIZED float highest_of(const float * values, int32_t count) {
    float   highest[lanes];
    int32_t i = 0;
    std::fill_n(highest, lanes, -INFINITY);
    for (; i + lanes <= count; i += lanes) {
        for (int32_t lane = 0; lane < lanes; ++lane) {
            highest[lane] = values[i + lane] > highest[lane] ? values[i + lane] : highest[lane];
        }
    }
    for (; i < count; ++i) {
        highest[0] = std::max(highest[0], values[i]);
    }
    return *std::max_element(highest, highest + lanes);
}

VECTORIZED double sum_of_exp(const float * values, int32_t count, float highest) {
    double sum = 0.0;
    // Few enough terms per lane for float to add up.
    for (int32_t first = 0; first < count; first += 1024) {
        const int32_t end = std::min(first + 1024, count);
        float         sums[lanes] = {};
        int32_t       i = first;
        for (; i + lanes <= end; i += lanes) {
            for (int32_t lane = 0; lane < lanes; ++lane) {
                sums[lane] += exp_of(std::max(values[i + lane] - highest, -87.0f));
            }
        }
        for (; i < end; ++i) {
            sums[0] += exp_of(std::max(values[i] - highest, -87.0f));
        }
        for (float each : sums) {
            sum += each;
        }
    }
    return sum;
}

double log_sum_exp(const float * logits, int32_t n_vocab) {
    const float highest = highest_of(logits, n_vocab);
    return highest + std::log(sum_of_exp(logits, n_vocab, highest));
}

}  // namespace

llama_token bridge_sample(
        llama_sampler * chain, llama_sampler * grammar, const float * logits, int32_t n_vocab,
        int32_t n_best, const llama_logit_bias * bias_data, int32_t n_biases, char ** error) {
    return guarded(error, static_cast<llama_token>(LLAMA_TOKEN_NULL), [&] {
        static thread_local candidates_t row;
        const biases_t biases = { bias_data, n_biases };
        const bool some = 0 < n_best && n_best < n_vocab;
        if (some && n_biases > 0) {
            best_candidates(row, logits, n_vocab, n_best, biases);
        } else if (some) {
            best_candidates(row, logits, n_vocab, n_best);
        } else {
            all_candidates(row, logits, n_vocab, biases);
        }
        llama_token_data_array candidates = { row.data(), row.size(), -1, some };
        llama_token            token      = chosen(chain, candidates);
        if (grammar != nullptr && !allows(grammar, token)) {
            all_candidates(row, logits, n_vocab, biases);
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
        static thread_local candidates_t row;
        best_candidates(row, logits, n_vocab, std::min(n_top, n_vocab));
        for (size_t i = 0; i < row.size(); ++i) {
            ids[i]      = row[i].id;
            logprobs[i] = static_cast<float>(row[i].logit - total);
        }
    }
    return static_cast<float>(logits[token] - total);
}
