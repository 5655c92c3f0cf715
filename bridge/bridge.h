// A C ABI for Python's ctypes over what llama.cpp offers to C++ only: parts of llama-common, and
// guards around C functions that can throw, which would end the process in a C caller.
//
// Strings are UTF-8 and NUL-terminated. A function with an `error` parameter sets it to NULL on
// success and to a message on failure; messages and other strings that come out are freed with
// bridge_string_free. No C++ exception crosses.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ggml-cpu.h"
#include "llama.h"

#if defined(_WIN32)
#    ifdef BRIDGE_BUILD
#        define BRIDGE_API __declspec(dllexport)
#    else
#        define BRIDGE_API __declspec(dllimport)
#    endif
#else
#    define BRIDGE_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

BRIDGE_API void bridge_string_free(char * string);

// A ggml_abort_callback: whether the bool that user_data points to is set. The engine asks after
// every graph node; a Python callback there would cost more than the node.
BRIDGE_API bool bridge_flag_is_set(void * user_data);

// Gets the text of an assertion that ends the process, before it does.
typedef void (*bridge_last_words)(const char * assertion);

// Has assertions of the engine end the functions of this library, and those from bridge_guarded, where they
// were called on the thread that asserts and it computes no graph. Others end the process.
BRIDGE_API void bridge_catch_assertions(bridge_last_words callback);

// A function of the engine as one that an assertion ends, with zero for a result. NULL for one without this.
// function: its address.
BRIDGE_API void * bridge_guarded(const char * name, void * function);

// The assertion that the thread's last call ended with: "FILE:LINE: TEXT". NULL if there was none, or when
// it was taken already.
BRIDGE_API char * bridge_take_assertion(void);

// A pool whose threads are the process's: any number of contexts may be attached to it. Each graph takes as
// many of n_cores as it has threads, all of them if it has more, waits in the order of asking until they are
// free, and gives them back once it is computed. Its threads poll as eagerly as `poll` says, 0 to 100. Never
// freed. NULL if the CPU backend lacks the patch for it.
BRIDGE_API ggml_threadpool_t bridge_threadpool(int n_cores, uint32_t poll);

// What graphs of the calling thread compute with that come without a pool; NULL for threads of their own.
BRIDGE_API void bridge_use_threadpool(ggml_threadpool_t pool);

// llama_model_save_to_file; a failure to write is an exception inside.
BRIDGE_API void bridge_model_save(const struct llama_model * model, const char * path, char ** error);

// Gets each piece of text that is logged on the thread. False ends a quantization before its next tensor.
typedef bool (*bridge_log_listener)(const char * text, void * user_data);

// llama_model_quantize, with the log as the only news of how far it is. One runs at a time.
BRIDGE_API uint32_t bridge_quantize(
        const char * source, const char * target, const struct llama_model_quantize_params * params,
        bridge_log_listener listener, void * user_data, char ** error);

// Where the bytes of a context and its model are, by device: [{"device", "description", "weights", "cache",
// "compute", "free", "total"}, ...], the processor first. "cache" is what it remembers of tokens.
BRIDGE_API void bridge_memory_breakdown(const struct llama_context * ctx, char ** result, char ** error);

// The same for a context that is not created, of a model that was loaded with no_alloc.
BRIDGE_API void bridge_memory_estimate(
        struct llama_model * model, const struct llama_context_params * params, char ** result,
        char ** error);

// common_fit_params for layers: changes params, whose n_gpu_layers is the default, so that margin bytes of
// each device stay free. What they point to then is in split, with llama_max_devices() entries, and in
// overrides, with llama_max_tensor_buft_overrides(). Whether it found a way. One runs at a time.
BRIDGE_API bool bridge_fit_layers(
        const char * path, struct llama_model_params * params, const struct llama_context_params * context,
        size_t margin, float * split, struct llama_model_tensor_buft_override * overrides, char ** error);

// Whether a model was loaded with a head for multi-token prediction (MTP) of a kind that is supported, and
// with the weights that the graph of the head ends the process without.
BRIDGE_API bool bridge_has_head(const struct llama_model * model);

// Has every decode from now on keep the hidden states that such a head goes on from: of every entry of
// the batch, or of those with an output.
BRIDGE_API void bridge_give_hidden_states(struct llama_context * ctx, bool of_outputs);

// Those of the last decode, in the order of its batch, llama_model_n_embd_out() numbers each. NULL without.
BRIDGE_API const float * bridge_hidden_states(struct llama_context * ctx);

// llama_sampler_accept and llama_sampler_sample; a grammar throws on a token that it forbids.
BRIDGE_API void bridge_sampler_accept(struct llama_sampler * sampler, llama_token token, char ** error);
BRIDGE_API llama_token bridge_sampler_sample(
        struct llama_sampler * sampler, struct llama_context * ctx, int32_t idx, char ** error);

// llama_sampler_init_grammar, or with lazy set llama_sampler_init_grammar_lazy_patterns; a trigger
// pattern that is no regular expression is an exception inside. NULL without an error: the grammar
// does not parse, and the reason is in the log. Without a vocabulary, which may be NULL, a grammar that
// names tokens does not, and the sampler is good for nothing.
BRIDGE_API struct llama_sampler * bridge_sampler_init_grammar(
        const struct llama_vocab * vocab, const char * grammar, const char * root, bool lazy,
        const char ** trigger_patterns, size_t n_trigger_patterns,
        const llama_token * trigger_tokens, size_t n_trigger_tokens, char ** error);

// What all tokens say, one after another: text has room for size bytes, lengths an entry for each token.
// Returns how many bytes there are; text is not complete where that is more than size.
BRIDGE_API int64_t bridge_pieces(
        const struct llama_vocab * vocab, bool special, char * text, int64_t size, int32_t * lengths,
        char ** error);

// What chooses the tokens of one text. chain ends with a sampler that selects; grammar may be NULL.
// n_best: the chain needs only so many of the best (1: it is greedy; k: it begins with top-k), 0: all.
// biases are added to the logits first. mask: NULL, or a bit for each token that may be chosen, from the
// lowest bit of mask[0] on. asks: somebody else says whether the token may be, so it is not accepted.
struct bridge_token_sampler {
    struct llama_sampler *   chain;
    struct llama_sampler *   grammar;
    const llama_logit_bias * biases;
    int32_t                  n_biases;
    int32_t                  n_best;
    int32_t                  n_vocab;
    const uint32_t *         mask;
    bool                     asks;
};

// Chooses a token from a row of logits, and has chain and grammar accept it. The chain chooses first,
// and only a token that the grammar refuses makes the grammar look at the whole row, as llama-server
// does: looking at every token of the vocabulary takes longer than a decode.
// logits: NULL for those of batch entry idx of the last decode.
BRIDGE_API llama_token bridge_sample(
        const struct bridge_token_sampler * sampler, struct llama_context * ctx, int32_t idx,
        const float * logits, char ** error);

// The same for several texts: samplers[i] chooses after entry idx[i]. tokens and errors have n entries;
// returns how many errors there are.
BRIDGE_API int32_t bridge_sample_rows(
        const struct bridge_token_sampler * samplers, struct llama_context * ctx,
        const int32_t * idx, int32_t n, llama_token * tokens, char ** errors);

// The log-probability of token, and the n_top likeliest ones with theirs, in descending order.
BRIDGE_API float bridge_top_logprobs(
        const float * logits, int32_t n_vocab, llama_token token, int32_t n_top, llama_token * ids,
        float * logprobs);

// Chat templates, of the engine's own kind: no model is needed. JSON goes in and comes out; where
// OpenAI has a shape for it, it is that one.
struct bridge_chat_templates;

// How many seconds each of the calls below may take that render a template: 10 unless told.
BRIDGE_API void bridge_chat_templates_limit_time(double seconds);

// NULL with an error: the template is empty, does not parse, nests too deeply or has no end. bos and eos
// are what bos_token and eos_token stand for in the template; either may be empty.
BRIDGE_API struct bridge_chat_templates * bridge_chat_templates_init(
        const char * source, const char * bos, const char * eos, char ** error);

BRIDGE_API void bridge_chat_templates_free(struct bridge_chat_templates * templates);

// {"source", "supports_thinking", "caps": {"supports_tools": ..., ...}}
BRIDGE_API void bridge_chat_templates_describe(
        const struct bridge_chat_templates * templates, char ** description, char ** error);

// Renders a conversation. The request has the members of common_chat_templates_inputs: "messages",
// which it must have, "tools", "tool_choice" ("auto", "required" or "none"), "json_schema" (a JSON
// schema), "grammar", "add_generation_prompt", "continue_final_message" (a bool, "content" or
// "reasoning_content"), "parallel_tool_calls", "reasoning_format" (a name), "enable_thinking", "now"
// (seconds since 1970), "chat_template_kwargs", "add_bos" and "add_eos" (the tokenizer adds it, so
// that the prompt must not), and "force_pure_content". Others are errors.
// The result has the members of common_chat_params, with names for what C++ has enums for.
BRIDGE_API void bridge_chat_templates_apply(
        const struct bridge_chat_templates * templates, const char * request, char ** result,
        char ** error);

// What reads replies to one prompt. Reading it out of the JSON takes longer than a token should, and
// a reply is read again after each one.
struct bridge_chat_parser;

// params is a result of bridge_chat_templates_apply, of which "format", "generation_prompt" and
// "parser" are needed.
BRIDGE_API struct bridge_chat_parser * bridge_chat_parser_init(const char * params, char ** error);

BRIDGE_API void bridge_chat_parser_free(struct bridge_chat_parser * parser);

// Reads a reply: what the model wrote after the prompt, all of it or so far. The message is an
// assistant's, with "content", "reasoning_content" and "tool_calls".
BRIDGE_API void bridge_chat_parser_parse(
        const struct bridge_chat_parser * parser, const char * reply, size_t reply_size,
        bool is_partial, char ** message, char ** error);

// A GBNF grammar with a rule for each JSON schema of {"name": schema, ...}; that of "root" is what texts
// are derived from. The result is {"grammar": "...", "rules": {"name": "what the rule is called", ...}}.
BRIDGE_API void bridge_json_schemas_to_gbnf(const char * schemas, char ** result, char ** error);

#ifdef __cplusplus
}
#endif
