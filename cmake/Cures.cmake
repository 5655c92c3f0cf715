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

# The grammar parser, the tokenizer's regex code, the JSON schema converter and the AMX check print
# their errors; a library must not, and Python wants the text in the exception.
if(MSVC)
    set(_force_include "/FI${CMAKE_CURRENT_SOURCE_DIR}/cmake/log_to_callback.h")
else()
    set(_force_include -include "${CMAKE_CURRENT_SOURCE_DIR}/cmake/log_to_callback.h")
endif()
set_source_files_properties("${LLAMA_CPP_DIR}/src/llama-grammar.cpp"
                            "${LLAMA_CPP_DIR}/src/unicode.cpp"
                            TARGET_DIRECTORY llama PROPERTIES COMPILE_OPTIONS "${_force_include}")
set_source_files_properties("${LLAMA_CPP_DIR}/common/json-schema-to-grammar.cpp"
                            TARGET_DIRECTORY llama-common
                            PROPERTIES COMPILE_OPTIONS "${_force_include}")
if(_cpu_targets)
    set_source_files_properties("${_amx_dir}/amx.cpp" TARGET_DIRECTORY ${_cpu_targets}
                                PROPERTIES COMPILE_OPTIONS "${_force_include}")
endif()
# The chat templates log to a printer of their own, with a thread.
file(GLOB _chat_sources "${LLAMA_CPP_DIR}/common/chat*.cpp" "${LLAMA_CPP_DIR}/common/peg-parser.cpp"
                        "${LLAMA_CPP_DIR}/common/parsers/*.cpp")
set_source_files_properties(${_chat_sources} TARGET_DIRECTORY llama-common
                            PROPERTIES COMPILE_OPTIONS "${_force_include}")
list(APPEND LLAMA_CPP_CURES "errors-to-log")

# A template ends the process if a macro calls itself, a variable holds itself, or it divides by zero.
# The engine gets copies of its interpreter with checks in these places.
function(check_templates source)
    set(_file "${LLAMA_CPP_DIR}/common/jinja/${source}")
    file(READ "${_file}" _text)
    while(ARGN)
        list(POP_FRONT ARGN _before _after)
        string(FIND "${_text}" "${_before}" _found)
        if(_found EQUAL -1)
            message(FATAL_ERROR "${_file} has no `${_before}`, which cmake/Cures.cmake has to replace")
        endif()
        string(REPLACE "${_before}" "${_after}" _text "${_text}")
    endwhile()
    # Their folder must not be searched: it has a string.h.
    string(REGEX REPLACE "#include \"(lexer|runtime|utils|value)\\.h\"" "#include \"jinja/\\1.h\""
           _text "${_text}")
    set(_checks "${CMAKE_CURRENT_SOURCE_DIR}/cmake/template_checks.h")
    set(_copy "${CMAKE_CURRENT_BINARY_DIR}/jinja/${source}")
    file(GENERATE OUTPUT "${_copy}" CONTENT "#include \"${_checks}\"\n${_text}")
    get_target_property(_sources llama-common SOURCES)
    list(TRANSFORM _sources REPLACE "^jinja/${source}$" "${_copy}")
    set_property(TARGET llama-common PROPERTY SOURCES ${_sources})
    set_source_files_properties("${_copy}" TARGET_DIRECTORY llama-common PROPERTIES GENERATED ON)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${_file}")
endfunction()
check_templates(runtime.cpp
    "return execute_impl(ctx)"
    "const template_checks::Level level$<SEMICOLON> return execute_impl(ctx)"
    "ctx.set_val(var_name, rhs)"
    "ctx.set_val(var_name, (template_checks::Value(rhs), rhs))"
    "ctx.set_val(var_name, arr[i])"
    "ctx.set_val(var_name, (template_checks::Value(arr[i]), arr[i]))"
    "obj_ptr->insert(prop_name, rhs)"
    "(obj_ptr->insert(prop_name, rhs), template_checks::Value(object))")
check_templates(value.cpp
    "arr_editable->push_back(args.get_pos(1))"
    "(arr_editable->push_back(args.get_pos(1)), template_checks::Value(args.get_pos(0)))"
    "args.get_pos(0)->val_int % args.get_pos(1)->val_int == 0"
    "template_checks::divides(args.get_pos(1)->val_int, args.get_pos(0)->val_int)")
list(APPEND LLAMA_CPP_CURES "template-checks")
