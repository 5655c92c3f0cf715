# Known miscompilations of the engine and its prints, and how each is cured. LLAMA_CPP_CURES names
# those applied.
set(LLAMA_CPP_CURES "")

# GGML_CPU_ALL_VARIANTS makes one ggml-cpu-<variant> target per instruction set.
get_property(_cpu_targets DIRECTORY "${LLAMA_CPP_DIR}/ggml/src" PROPERTY BUILDSYSTEM_TARGETS)
list(FILTER _cpu_targets INCLUDE REGEX "^ggml-cpu")
set(_amx_dir "${LLAMA_CPP_DIR}/ggml/src/ggml-cpu/amx")

# GCC before 11.5, 12.4 and 13.3 drops the stores that fill the AMX tile configuration, because
# _tile_loadconfig claims to read only 8 bytes of it: the first prompt of a quantized model dies
# with SIGSEGV or SIGILL (llama.cpp issues 20824 and 26954). Harmless where it is not needed.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14
   AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND _cpu_targets)
    set_source_files_properties("${_amx_dir}/mmq.cpp" TARGET_DIRECTORY ${_cpu_targets}
                                PROPERTIES COMPILE_OPTIONS "-fno-tree-dse;-fno-dse")
    list(APPEND LLAMA_CPP_CURES "amx-tile-config")
endif()

# The tokenizer's regex code, the AMX check and, below, the grammar parser and the JSON schema converter
# print their errors; a library must not, and Python wants the text in the exception.
if(MSVC)
    set(_force_include "/FI${CMAKE_CURRENT_SOURCE_DIR}/cmake/log_to_callback.h")
else()
    set(_force_include -include "${CMAKE_CURRENT_SOURCE_DIR}/cmake/log_to_callback.h")
endif()
set_source_files_properties("${LLAMA_CPP_DIR}/src/unicode.cpp" TARGET_DIRECTORY llama
                            PROPERTIES COMPILE_OPTIONS "${_force_include}")
if(_cpu_targets)
    set_source_files_properties("${_amx_dir}/amx.cpp" TARGET_DIRECTORY ${_cpu_targets}
                                PROPERTIES COMPILE_OPTIONS "${_force_include}")
endif()
# The chat templates, and what fits models into memory, log to a printer of their own, with a thread.
file(GLOB _printing_sources "${LLAMA_CPP_DIR}/common/chat*.cpp" "${LLAMA_CPP_DIR}/common/peg-parser.cpp"
                        "${LLAMA_CPP_DIR}/common/fit.cpp"
                        "${LLAMA_CPP_DIR}/common/parsers/*.cpp")
set_source_files_properties(${_printing_sources} TARGET_DIRECTORY llama-common
                            PROPERTIES COMPILE_OPTIONS "${_force_include}")
list(APPEND LLAMA_CPP_CURES "errors-to-log")

# Has a target compile a copy of a source, in which texts are replaced: the first of each pair that
# follows is there, the second takes its place. `prologue`, a file beside this one, is included first.
function(replace_in target folder source prologue)
    set(_file "${LLAMA_CPP_DIR}/${folder}/${source}")
    file(READ "${_file}" _text)
    # By number, for a list would be split anew at the brackets and semicolons of C++.
    foreach(_index RANGE 4 ${ARGC} 2)
        if(_index EQUAL ARGC)
            break()
        endif()
        math(EXPR _next "${_index} + 1")
        set(_before "${ARGV${_index}}")
        string(FIND "${_text}" "${_before}" _found)
        if(_found EQUAL -1)
            message(FATAL_ERROR "${_file} has no `${_before}`, which cmake/Cures.cmake has to replace")
        endif()
        string(REPLACE "${_before}" "${ARGV${_next}}" _text "${_text}")
    endforeach()
    # The folder of the templates' interpreter must not be searched: it has a string.h.
    string(REGEX REPLACE "#include \"(lexer|runtime|utils|value)\\.h\"" "#include \"jinja/\\1.h\""
           _text "${_text}")
    set(_copy "${CMAKE_CURRENT_BINARY_DIR}/cured/${folder}/${source}")
    set(_prologue "#include \"${CMAKE_CURRENT_SOURCE_DIR}/cmake/${prologue}\"")
    file(GENERATE OUTPUT "${_copy}" CONTENT "${_prologue}\n${_text}")
    get_target_property(_sources ${target} SOURCES)
    list(TRANSFORM _sources REPLACE "^${source}$" "${_copy}")
    set_property(TARGET ${target} PROPERTY SOURCES ${_sources})
    set_source_files_properties("${_copy}" TARGET_DIRECTORY ${target} PROPERTIES GENERATED ON)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_file}")
endfunction()

include(TemplateChecks)
list(APPEND LLAMA_CPP_CURES "template-checks")

# The search for rules that begin with themselves follows each way to a rule anew, of which there may be
# 2^60, and calls itself for each rule on the way, which overflows the stack of a thread.
replace_in(llama src llama-grammar.cpp log_to_callback.h
    [=[
    if ((*rules_in_progress)[rule_index]) {
        return true;
    }
]=]
    [=[
    if ((*rules_in_progress)[rule_index]) {
        return true;
    }
    if ((*rules_visited)[rule_index]) {
        return false;
    }
    static thread_local int depth = 0;
    struct level {
        level() {
            if (depth >= 4000) {
                throw std::runtime_error("its rules refer to each other more than 4000 deep");
            }
            depth++;
        }
        ~level() { depth--; }
    } level;
]=])
list(APPEND LLAMA_CPP_CURES "grammar-depth")

# The converter of JSON schemas admits what is no JSON, or no value of the schema, for some schemas, and
# refuses or mixes up others. The engine gets a copy that does not.
replace_in(llama-common common json-schema-to-grammar.cpp log_to_callback.h
    # Open ranges of more than one digit.
    "const std::string SPACE_RULE"
[[static void build_integer(int64_t minimum, int64_t maximum, std::stringstream & out) {
    if (maximum == std::numeric_limits<int64_t>::max() && minimum > 9) {
        const auto digits = std::to_string(minimum).length();
        build_min_max_int(minimum, std::stoll(std::string(digits, '9')), out);
        if (digits < 16) {
            out << " | [1-9] [0-9]{" << digits << ",15}";
        }
    } else if (minimum == std::numeric_limits<int64_t>::min() && maximum < 0) {
        out << "\"-\" (";
        build_integer(-maximum, std::numeric_limits<int64_t>::max(), out);
        out << ")";
    } else {
        build_min_max_int(minimum, maximum, out);
    }
}

const std::string SPACE_RULE]]
    "build_min_max_int(i.minimum, i.maximum, out)" "build_integer(i.minimum, i.maximum, out)"
    # Exponents that are no number any more.
    "([eE] [-+]? integral-part)?" "([eE] [-+]? [0-9]{1,2})?"
    # Halves of characters.
    [=[\"u\" [0-9a-fA-F]{4}]=]
    [=[\"u\" ([0-9a-ce-fA-CE-F] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2})]=]
    # Characters that a string of JSON must escape.
    [=["[^\\x0A\\x0D]"]=] [=["[^\"\\\\\\x7F\\x00-\\x1F\\u2028\\u2029]"]=]
    "std::string square_brackets = std::string(1, c)"
    [=[std::string square_brackets = sub_pattern.compare(i, 2, "[^") == 0 ? (i++, "[^\"\\\\\\x7F\\x00-\\x1F") : "["]=]
    "std::string rejects;" [=[std::string rejects = "\\\\\\x7F\\x00-\\x1F";]=]
    "std::string c = common_unicode_cpt_to_utf8(cpt);"
[=[if (cpt == '"' || cpt == '\\' || cpt < ' ') {
                    continue;
                }
                std::string c = cpt == ']' || cpt == '-' ? std::string("\\") + char(cpt)
                              : cpt == '^' ? "\\x5E" : common_unicode_cpt_to_utf8(cpt);]=]
    # References to different schemas that have the same letters.
    "std::unordered_set<std::string> _refs_being_resolved;"
[[std::unordered_set<std::string> _refs_being_resolved;
    std::map<const void *, size_t> _ref_numbers;]]
    [=[std::regex_replace(ref_fragment, nonalphanumeric_regex, "-");]=]
[=[std::regex_replace(ref_fragment, nonalphanumeric_regex, "-") + "--" +
            std::to_string(_ref_numbers.emplace(schema.target, _ref_numbers.size()).first->second);]=]
    # Names that are no names of rules.
    "is_reserved_name(name) ? name" [=[is_reserved_name(regex_replace(name, INVALID_RULE_CHARS_RE, "-")) ? name]=]
    # Schemas without end.
    "std::map<std::string, size_t> enum_values;"
[[std::map<std::string, size_t> enum_values;
        size_t n_components = 0;]]
    "[&](const common_chat_schema & comp, bool is_required) {"
[[[&](const common_chat_schema & comp, bool is_required) {
            if (++n_components > 4096) {
                throw std::runtime_error("allOf has more than 4096 parts");
            }]])
list(APPEND LLAMA_CPP_CURES "json-schemas")
