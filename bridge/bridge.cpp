#include "bridge.h"

#include <atomic>
#include <string>
#include <vector>

#include "guard.h"
#include "json-schema-to-grammar.h"

using bridge::copy;
using bridge::guarded;

static_assert(sizeof(std::atomic<bool>) == sizeof(bool) && std::atomic<bool>::is_always_lock_free,
              "Python writes the flag of bridge_flag_is_set as a bool");

void bridge_string_free(char * string) {
    if (string != bridge::out_of_memory) {
        std::free(string);
    }
}

bool bridge_flag_is_set(void * user_data) {
    return static_cast<const std::atomic<bool> *>(user_data)->load(std::memory_order_relaxed);
}

void bridge_model_save(const llama_model * model, const char * path, char ** error) {
    guarded(error, false, [&] {
        llama_model_save_to_file(model, path);
        return true;
    });
}

void bridge_sampler_accept(llama_sampler * sampler, llama_token token, char ** error) {
    guarded(error, false, [&] {
        llama_sampler_accept(sampler, token);
        return true;
    });
}

llama_token bridge_sampler_sample(llama_sampler * sampler, llama_context * ctx, int32_t idx, char ** error) {
    return guarded(error, static_cast<llama_token>(LLAMA_TOKEN_NULL), [&] {
        return llama_sampler_sample(sampler, ctx, idx);
    });
}

llama_sampler * bridge_sampler_init_grammar(
        const llama_vocab * vocab, const char * grammar, const char * root, bool lazy,
        const char ** trigger_patterns, size_t n_trigger_patterns,
        const llama_token * trigger_tokens, size_t n_trigger_tokens, char ** error) {
    return guarded(error, static_cast<llama_sampler *>(nullptr), [&] {
        return lazy ? llama_sampler_init_grammar_lazy_patterns(
                          vocab, grammar, root, trigger_patterns, n_trigger_patterns,
                          trigger_tokens, n_trigger_tokens)
                    : llama_sampler_init_grammar(vocab, grammar, root);
    });
}

void bridge_json_schemas_to_gbnf(const char * schemas, char ** result, char ** error) {
    *result = guarded(error, static_cast<char *>(nullptr), [&] {
        // All of them live until the end, for the converter tells references by their targets' addresses.
        std::vector<common_chat_schema_document> documents;
        common_json rules = common_json::object();
        std::string grammar = build_grammar([&](const common_grammar_builder & builder) {
            const common_json parsed = common_json::parse(schemas);
            for (const auto & [name, schema] : parsed.items()) {
                documents.push_back(common_chat_schema_from_json(schema));
                rules[name] = builder.add_schema(name, *documents.back().root);
            }
        });
        return copy(common_json{{"grammar", grammar}, {"rules", rules}}.dump());
    });
}
