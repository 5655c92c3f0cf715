// The loops over a row of logits, which has an entry for every token of the vocabulary.
#include <algorithm>
#include <bitset>
#include <cmath>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
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

// The highest logit of each column, the row being broken into lines of so many columns.
VECTORIZED void column_maxima(float * to, int32_t columns, const float * logits, int32_t n_vocab) {
    std::fill_n(to, columns, -INFINITY);
    int32_t first = 0;
    for (; first + columns <= n_vocab; first += columns) {
        for (int32_t i = 0; i < columns; ++i) {
            to[i] = logits[first + i] > to[i] ? logits[first + i] : to[i];
        }
    }
    for (int32_t i = 0; first + i < n_vocab; ++i) {
        to[i] = logits[first + i] > to[i] ? logits[first + i] : to[i];
    }
}

// Collects the tokens whose logits reach the floor, and returns how many there are. What depends on
// a single logit is no branch, which a processor would guess wrong.
VECTORIZED int32_t collect(llama_token_data * to, const float * logits, int32_t n_vocab, float floor) {
    constexpr int32_t block = 64;
    int32_t           size  = 0;
    for (int32_t first = 0; first < n_vocab; first += block) {
        const int32_t end     = std::min(first + block, n_vocab);
        int32_t       reached = 0;
        for (int32_t id = first; id < end; ++id) {
            reached |= logits[id] >= floor;
        }
        if (reached != 0) {
            for (int32_t id = first; id < end; ++id) {
                to[size] = { id, logits[id], 0.0f };
                size += logits[id] >= floor;
            }
        }
    }
    return size;
}

// The n best in descending order, as a top-k sampler leaves them. The nth highest of the maxima of
// columns is a floor that n logits reach, and few others.
void best_candidates(candidates_t & to, const float * logits, int32_t n_vocab, int32_t n) {
    static thread_local std::vector<float> maxima;
    static thread_local candidates_t       reached;

    const int32_t columns = std::max(256, (4 * n + 15) / 16 * 16);
    float         floor   = -INFINITY;
    if (columns < n_vocab) {
        maxima.resize(columns);
        column_maxima(maxima.data(), columns, logits, n_vocab);
        std::nth_element(maxima.begin(), maxima.begin() + (n - 1), maxima.end(), std::greater<float>());
        floor = maxima[n - 1];
    }
    if (static_cast<int32_t>(reached.size()) <= n_vocab) {
        reached.resize(n_vocab + 1);
    }
    int32_t size = collect(reached.data(), logits, n_vocab, floor);
    if (size < n) {  // a NaN reaches nothing
        all_candidates(reached, logits, n_vocab, {});
        for (llama_token_data & each : reached) {
            each.logit = std::isnan(each.logit) ? -INFINITY : each.logit;
        }
        size = n_vocab;
    }
    std::nth_element(reached.begin(), reached.begin() + (n - 1), reached.begin() + size, better);
    std::sort(reached.begin(), reached.begin() + n, better);
    to.assign(reached.begin(), reached.begin() + n);
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

// Those whose bits are set. Where few may be, most words of the mask are 0.
void masked_candidates(candidates_t & to, const float * logits, int32_t n_vocab, biases_t biases, const uint32_t * mask) {
    to.clear();
    for (int32_t first = 0; first < n_vocab; first += 32) {
        const int32_t end = std::min(first + 32, n_vocab);
        uint32_t      bits = mask[first / 32];
        for (int32_t id = first; bits != 0 && id < end; ++id, bits >>= 1) {
            if (bits & 1) {
                to.push_back({ id, logits[id], 0.0f });
            }
        }
    }
    for (int32_t i = 0; i < biases.size; ++i) {
        const auto found = std::lower_bound(to.begin(), to.end(), biases.data[i].token,
            [](const llama_token_data & each, llama_token id) { return each.id < id; });
        if (found != to.end() && found->id == biases.data[i].token) {
            found->logit += biases.data[i].bias;
        }
    }
}

int32_t count_bits(const uint32_t * mask, int32_t n_vocab) {
    int32_t count = 0;
    for (int32_t i = 0; i < (n_vocab + 31) / 32; ++i) {
        count += static_cast<int32_t>(std::bitset<32>(mask[i]).count());
    }
    return count;
}

VECTORIZED void forbid_others(float * logits, int32_t n_vocab, const uint32_t * mask) {
    int32_t first = 0;
    for (; first + 32 <= n_vocab; first += 32) {
        const uint32_t bits = mask[first / 32];
        for (int32_t i = 0; i < 32; ++i) {
            logits[first + i] = (bits & (1u << i)) != 0 ? logits[first + i] : -INFINITY;
        }
    }
    for (int32_t id = first; id < n_vocab; ++id) {
        logits[id] = (mask[id / 32] & (1u << id % 32)) != 0 ? logits[id] : -INFINITY;
    }
}

// The n best of those whose bits are set, where there are many.
void best_masked_candidates(
        candidates_t & to, const float * logits, int32_t n_vocab, int32_t n, biases_t biases, const uint32_t * mask) {
    static thread_local std::vector<float> allowed;
    allowed.assign(logits, logits + n_vocab);
    for (int32_t i = 0; i < biases.size; ++i) {
        allowed[biases.data[i].token] += biases.data[i].bias;
    }
    forbid_others(allowed.data(), n_vocab, mask);
    best_candidates(to, allowed.data(), n_vocab, n);
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

// So many allowed tokens are more to list than a row is to search for the best.
constexpr int32_t many = 1024;

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

int64_t bridge_pieces(
        const llama_vocab * vocab, bool special, char * text, int64_t size, int32_t * lengths, char ** error) {
    return guarded(error, static_cast<int64_t>(0), [&] {
        const int32_t n_tokens = llama_vocab_n_tokens(vocab);
        int64_t       end      = 0;
        for (llama_token token = 0; token < n_tokens; ++token) {
            const int32_t room   = static_cast<int32_t>(std::clamp<int64_t>(size - end, 0, INT32_MAX));
            const int32_t length = llama_token_to_piece(vocab, token, text + std::min(end, size), room, 0, special);
            lengths[token] = std::abs(length);
            end += lengths[token];
        }
        return end;
    });
}

llama_token bridge_sample(
        const bridge_token_sampler * sampler, llama_context * ctx, int32_t idx, const float * logits,
        char ** error) {
    return guarded(error, static_cast<llama_token>(LLAMA_TOKEN_NULL), [&] {
        static thread_local candidates_t row;
        const auto [chain, grammar, bias_data, n_biases, n_best, n_vocab, mask, asks] = *sampler;
        const biases_t biases = { bias_data, n_biases };
        const int32_t n_allowed = mask == nullptr ? n_vocab : count_bits(mask, n_vocab);
        const bool some = 0 < n_best && n_best < n_allowed && (mask == nullptr || n_allowed > many);
        if (logits == nullptr) {
            logits = llama_get_logits_ith(ctx, idx);
        }
        if (logits == nullptr) {
            throw std::runtime_error("the last decode gave no logits for entry " + std::to_string(idx));
        }
        if (mask != nullptr && some) {
            best_masked_candidates(row, logits, n_vocab, n_best, biases, mask);
        } else if (mask != nullptr) {
            masked_candidates(row, logits, n_vocab, biases, mask);
            if (row.empty()) {
                throw std::runtime_error("nothing is allowed here");
            }
        } else if (some && n_biases > 0) {
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
        if (!asks) {
            llama_sampler_accept(chain, token);
        }
        if (grammar != nullptr) {
            llama_sampler_accept(grammar, token);
        }
        return token;
    });
}

int32_t bridge_sample_rows(
        const bridge_token_sampler * samplers, llama_context * ctx, const int32_t * idx, int32_t n,
        llama_token * tokens, char ** errors) {
    int32_t n_errors = 0;
    for (int32_t i = 0; i < n; ++i) {
        tokens[i] = bridge_sample(&samplers[i], ctx, idx[i], nullptr, &errors[i]);
        n_errors += errors[i] != nullptr;
    }
    return n_errors;
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
