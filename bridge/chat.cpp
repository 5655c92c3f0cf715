#include "bridge.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "chat.h"
#include "guard.h"
#include "jinja/lexer.h"
#include "jinja/parser.h"
#include "json.h"
#include "template_budget.h"
#include "template_limits.h"

using bridge::copy;
using bridge::guarded;
using json = common_json;

struct bridge_chat_templates {
    common_chat_templates_ptr templates;
    std::string bos;
    std::string eos;
};

struct bridge_chat_parser {
    common_chat_parser_params params;
};

namespace {

const char * text(const char * argument, const char * name) {
    if (argument == nullptr) {
        throw std::invalid_argument(std::string(name) + " is NULL");
    }
    return argument;
}

template <typename Handle>
const Handle & not_null(const Handle * handle) {
    if (handle == nullptr) {
        throw std::invalid_argument("the handle is NULL");
    }
    return *handle;
}

json object_from(const char * argument, const char * name) {
    json parsed = json::parse(text(argument, name));
    if (!parsed.is_object()) {
        throw std::invalid_argument(std::string(name) + " is not a JSON object");
    }
    return parsed;
}

bool has(const json & object, const char * name) {
    return object.contains(name) && !object.at(name).is_null();
}

template <typename Value>
void read(const json & object, const char * name, Value & value) {
    if (!has(object, name)) {
        return;
    }
    try {
        value = object.at(name).get<Value>();
    } catch (const common_json_error & error) {
        throw std::invalid_argument("\"" + std::string(name) + "\": " + error.what());
    }
}

void refuse_unknown(const json & request) {
    static const std::set<std::string> known = {
        "add_bos", "add_eos", "add_generation_prompt", "chat_template_kwargs",
        "continue_final_message", "enable_thinking", "force_pure_content", "grammar", "json_schema",
        "messages", "now", "parallel_tool_calls", "reasoning_format", "tool_choice", "tools",
    };
    for (const auto & [name, value] : request.items()) {
        if (known.count(name) == 0) {
            throw std::invalid_argument("the request has an unknown member \"" + name + "\"");
        }
    }
}

// Templates ask for the date by these names. The engine sets them to that of the call, whatever the
// time in its inputs.
void set_date(common_chat_templates_inputs & inputs, double seconds) {
    constexpr double year_9999 = 253402300799;
    if (!(seconds >= 0 && seconds <= year_9999)) {
        throw std::invalid_argument("\"now\" must be in seconds since 1970");
    }
    const std::chrono::duration<double> since_1970(seconds);
    inputs.now = std::chrono::system_clock::time_point(
        std::chrono::duration_cast<std::chrono::system_clock::duration>(since_1970));
    const std::time_t time = std::chrono::system_clock::to_time_t(inputs.now);
    const std::tm * local = std::localtime(&time);
    char date[32];
    for (const auto & [name, format] : {std::pair("datetime", "%b %d %Y"), std::pair("date_string", "%d %b %Y")}) {
        if (local == nullptr || std::strftime(date, sizeof(date), format, local) == 0) {
            throw std::runtime_error("\"now\" has no local date");
        }
        inputs.chat_template_kwargs.emplace(name, json(date).dump());
    }
}

common_chat_templates_inputs inputs_from(const json & request) {
    refuse_unknown(request);
    if (!has(request, "messages")) {
        throw std::invalid_argument("the request has no \"messages\"");
    }
    common_chat_templates_inputs inputs;
    inputs.messages = common_chat_msgs_parse_oaicompat(request.at("messages"));
    if (has(request, "tools")) {
        inputs.tools = common_chat_tools_parse_oaicompat(request.at("tools"));
    }
    read(request, "grammar", inputs.grammar);
    if (has(request, "json_schema")) {
        if (!request.at("json_schema").is_object() || !inputs.grammar.empty()) {
            throw std::invalid_argument("\"json_schema\" must be a JSON object, without a \"grammar\"");
        }
        inputs.json_schema = request.at("json_schema").dump();
    }
    if (has(request, "continue_final_message")) {
        inputs.continue_final_message = common_chat_continuation_parse(request.at("continue_final_message"));
    }
    std::string tool_choice = "auto";
    read(request, "tool_choice", tool_choice);
    inputs.tool_choice = common_chat_tool_choice_parse_oaicompat(tool_choice);
    std::string reasoning_format = common_reasoning_format_name(inputs.reasoning_format);
    read(request, "reasoning_format", reasoning_format);
    inputs.reasoning_format = common_reasoning_format_from_name(reasoning_format);
    read(request, "add_generation_prompt", inputs.add_generation_prompt);
    read(request, "parallel_tool_calls", inputs.parallel_tool_calls);
    read(request, "force_pure_content", inputs.force_pure_content);
    read(request, "add_bos", inputs.add_bos);
    read(request, "add_eos", inputs.add_eos);
    if (has(request, "chat_template_kwargs")) {
        const json & arguments = request.at("chat_template_kwargs");
        if (!arguments.is_object()) {
            throw std::invalid_argument("\"chat_template_kwargs\" is not a JSON object");
        }
        for (const auto & [name, value] : arguments.items()) {
            inputs.chat_template_kwargs[name] = value.dump();
        }
        // One question, one answer: parsers are made after the input, prompts after the argument.
        read(arguments, "enable_thinking", inputs.enable_thinking);
    }
    read(request, "enable_thinking", inputs.enable_thinking);
    if (has(request, "now")) {
        double seconds = 0;
        read(request, "now", seconds);
        set_date(inputs, seconds);
    }
    return inputs;
}

// The engine takes these off for the templates of a model only.
void drop_added_tokens(const bridge_chat_templates & templates,
                       const common_chat_templates_inputs & inputs, std::string & prompt) {
    const std::string & bos = templates.bos;
    const std::string & eos = templates.eos;
    if (inputs.add_bos && prompt.compare(0, bos.size(), bos) == 0) {
        prompt.erase(0, bos.size());
    }
    if (inputs.add_eos && prompt.size() >= eos.size() &&
        prompt.compare(prompt.size() - eos.size(), eos.size(), eos) == 0) {
        prompt.erase(prompt.size() - eos.size());
    }
}

const char * trigger_name(common_grammar_trigger_type type) {
    switch (type) {
        case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN:        return "token";
        case COMMON_GRAMMAR_TRIGGER_TYPE_WORD:         return "word";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN:      return "pattern";
        case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL: return "pattern_full";
    }
    throw std::logic_error("a grammar trigger of an unknown type");
}

json triggers_to_json(const std::vector<common_grammar_trigger> & triggers) {
    json result = json::array();
    for (const auto & trigger : triggers) {
        json entry{{"type", trigger_name(trigger.type)}, {"value", trigger.value}};
        if (trigger.type == COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN) {
            entry["token"] = trigger.token;
        }
        result.push_back(entry);
    }
    return result;
}

json to_json(const common_chat_params & params) {
    return json{
        {"prompt", params.prompt},
        {"generation_prompt", params.generation_prompt},
        {"format", common_chat_format_name(params.format)},
        {"parser", params.parser},
        {"grammar", params.grammar},
        {"grammar_lazy", params.grammar_lazy},
        {"grammar_triggers", triggers_to_json(params.grammar_triggers)},
        {"preserved_tokens", params.preserved_tokens},
        {"additional_stops", params.additional_stops},
        {"supports_thinking", params.supports_thinking},
        {"thinking_start_tag", params.thinking_start_tag},
        {"thinking_end_tags", params.thinking_end_tags},
        {"message_delimiters", params.message_delimiters.to_json()},
    };
}

common_chat_format format_from_name(const std::string & name) {
    for (int format = 0; format < COMMON_CHAT_FORMAT_COUNT; format++) {
        if (name == common_chat_format_name(static_cast<common_chat_format>(format))) {
            return static_cast<common_chat_format>(format);
        }
    }
    throw std::invalid_argument("\"format\": there is no format \"" + name + "\"");
}

common_chat_parser_params parser_params_from(const json & params) {
    common_chat_parser_params result;
    std::string format = common_chat_format_name(result.format);
    read(params, "format", format);
    result.format = format_from_name(format);
    read(params, "generation_prompt", result.generation_prompt);
    std::string parser;
    read(params, "parser", parser);
    if (!parser.empty()) {
        result.parser.load(parser);
    }
    return result;
}

std::atomic<double> time_limit{10};

// The line of a template that has this position.
std::string line_at(const std::string & source, size_t position) {
    constexpr size_t line_max = 80;
    position = std::min(position, source.size());
    const size_t number = 1 + std::count(source.begin(), source.begin() + position, '\n');
    const size_t begin = position == 0 ? 0 : source.rfind('\n', position - 1) + 1;
    size_t size = std::min(source.find('\n', begin), source.size()) - begin;
    if (size > line_max) {
        size = line_max;
        while (size > 0 && (source[begin + size] & 0xC0) == 0x80) {
            size--;  // a character is not cut
        }
    }
    return "line " + std::to_string(number) + ": " + source.substr(begin, size);
}

// Whatever the engine has made of exceeding the budget, also nothing, is an error.
void refuse_exceeded(const std::string & source) {
    std::string reason;
    size_t position = 0;
    if (template_budget::exceeded(reason, position)) {
        throw std::runtime_error(reason + " (" + line_at(source, position) + ")");
    }
}

// What body returns, which may render this template as often as it likes.
template <typename Body>
auto within_budget(const std::string & source, Body body) {
    struct Call {
        Call() { template_budget::begin(time_limit); }
        ~Call() { template_budget::end(); }
    } const call;
    try {
        auto result = body();
        refuse_exceeded(source);
        return result;
    } catch (const std::exception &) {
        refuse_exceeded(source);
        throw;
    }
}

// The engine's lexer does the same, but takes a time that grows with the square of their number.
std::string without_carriage_returns(const std::string & source) {
    std::string result;
    result.reserve(source.size());
    for (size_t i = 0; i < source.size(); i++) {
        if (source[i] != '\r') {
            result.push_back(source[i]);
        } else if (i + 1 == source.size() || source[i + 1] != '\n') {
            result.push_back('\n');
        }
    }
    return result;
}

bool supports_thinking(const common_chat_templates * templates) {
    try {
        return common_chat_templates_support_enable_thinking(templates);
    } catch (const std::exception &) {
        return false;  // it cannot render the lone question that this is found out by
    }
}

}  // namespace

void bridge_chat_templates_limit_time(double seconds) {
    time_limit = seconds;
}

bridge_chat_templates * bridge_chat_templates_init(
        const char * source, const char * bos, const char * eos, char ** error) {
    return guarded(error, static_cast<bridge_chat_templates *>(nullptr), [&] {
        if (*text(source, "the template") == '\0') {
            throw std::invalid_argument("the template is empty");
        }
        const std::string lines = without_carriage_returns(source);
        const auto lexed = jinja::lexer().tokenize(lines);
        bridge::refuse_deep_template(lexed.tokens);
        // The call below would lose the message of a template that does not parse.
        jinja::parse_from_tokens(lexed);
        auto result = std::make_unique<bridge_chat_templates>();
        result->bos = text(bos, "the BOS text");
        result->eos = text(eos, "the EOS text");
        result->templates = within_budget(lines, [&] {
            return common_chat_templates_init(nullptr, lines, result->bos, result->eos);
        });
        return result.release();
    });
}

void bridge_chat_templates_free(bridge_chat_templates * templates) {
    delete templates;
}

void bridge_chat_templates_describe(
        const bridge_chat_templates * templates, char ** description, char ** error) {
    *description = guarded(error, static_cast<char *>(nullptr), [&] {
        const auto * engine = not_null(templates).templates.get();
        const std::string source = common_chat_templates_source(engine);
        return copy(json{
            {"source", source},
            {"supports_thinking", within_budget(source, [&] { return supports_thinking(engine); })},
            {"caps", common_chat_templates_get_caps(engine)},
        }.dump_safe());
    });
}

void bridge_chat_templates_apply(
        const bridge_chat_templates * templates, const char * request, char ** result, char ** error) {
    *result = guarded(error, static_cast<char *>(nullptr), [&] {
        const auto inputs = inputs_from(object_from(request, "the request"));
        const auto * engine = not_null(templates).templates.get();
        auto params = within_budget(common_chat_templates_source(engine), [&] {
            return common_chat_templates_apply(engine, inputs);
        });
        drop_added_tokens(*templates, inputs, params.prompt);
        if (params.grammar.empty()) {
            params.grammar = inputs.grammar;
        }
        return copy(to_json(params).dump_safe());
    });
}

bridge_chat_parser * bridge_chat_parser_init(const char * params, char ** error) {
    return guarded(error, static_cast<bridge_chat_parser *>(nullptr), [&] {
        return new bridge_chat_parser{parser_params_from(object_from(params, "the parameters"))};
    });
}

void bridge_chat_parser_free(bridge_chat_parser * parser) {
    delete parser;
}

void bridge_chat_parser_parse(
        const bridge_chat_parser * parser, const char * reply, size_t reply_size, bool is_partial,
        char ** message, char ** error) {
    *message = guarded(error, static_cast<char *>(nullptr), [&] {
        const std::string whole(text(reply, "the reply"), reply_size);
        const auto parsed = common_chat_parse(whole, is_partial, not_null(parser).params);
        return copy(parsed.to_json_oaicompat().dump_safe());
    });
}
