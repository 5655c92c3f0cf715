// The heads of models for multi-token prediction, and the hidden states that they go on from.
#include "../src/llama-ext.h"
#include "../src/llama-model.h"
#include "bridge.h"

bool bridge_has_head(const llama_model * model) {
    const uint32_t n_heads = model->hparams.n_layer_nextn;
    if (n_heads != 1 || model->layers.size() != model->hparams.n_layer_all) {
        return false;
    }
    const llama_layer & layer = model->layers.back();
    if (!layer.nextn.eh_proj || !layer.nextn.enorm || !layer.nextn.hnorm) {
        return false;
    }
    switch (model->arch) {
        case LLM_ARCH_QWEN35:
            return layer.ffn_gate;
        case LLM_ARCH_QWEN35MOE:
            return layer.ffn_gate_inp;
        case LLM_ARCH_GLM4_MOE:
            return layer.ffn_gate_inp && llama_model_rope_type(model) == LLAMA_ROPE_TYPE_NEOX;
        default:
            return false;
    }
}

void bridge_give_hidden_states(llama_context * ctx, bool of_outputs) {
    llama_set_embeddings_nextn(ctx, true, of_outputs);
}

const float * bridge_hidden_states(llama_context * ctx) {
    return llama_get_embeddings_nextn(ctx);
}
