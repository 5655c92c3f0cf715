# Writes build_info.json, which llama_cpp.build_info() reads, and prints the same as a summary.
set(BUILD_INFO_FILE "${CMAKE_CURRENT_BINARY_DIR}/build_info.json")

set(_backends "")
foreach(_backend CPU BLAS CANN CUDA ET HEXAGON HIP METAL MUSA OPENCL OPENVINO RPC SYCL VIRTGPU
                 VULKAN WEBGPU ZDNN ZENDNN)
    if(GGML_${_backend})
        list(APPEND _backends ${_backend})
    endif()
endforeach()

# What the compiler turns on for this processor. llama.cpp asks it by -march=native alone, so its
# GGML_AVX... options say nothing about a native build.
set(_instruction_sets "")
set(_macros "")
if(GGML_NATIVE AND NOT CMAKE_CROSSCOMPILING AND CMAKE_C_COMPILER_ID MATCHES "GNU|Clang")
    file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/empty.c" "")
    foreach(_native_flag -march=native -mcpu=native)
        execute_process(COMMAND ${CMAKE_C_COMPILER} ${_native_flag} -dM -E
                                "${CMAKE_CURRENT_BINARY_DIR}/empty.c"
                        OUTPUT_VARIABLE _macros
                        ERROR_QUIET RESULT_VARIABLE _unsupported)
        if(NOT _unsupported)
            break()
        endif()
    endforeach()
endif()
# Pairs of the compiler's macro and, for builds that are not native, llama.cpp's option.
set(_x86_sets SSE4_2=SSE42 AVX=AVX AVX2=AVX2 FMA=FMA F16C=F16C BMI2=BMI2 AVXVNNI=AVX_VNNI
              AVX512F=AVX512 AVX512VBMI=AVX512_VBMI AVX512VNNI=AVX512_VNNI AVX512BF16=AVX512_BF16
              AMX_TILE=AMX_TILE AMX_INT8=AMX_INT8 AMX_BF16=AMX_BF16)
set(_other_sets ARM_NEON ARM_FEATURE_DOTPROD ARM_FEATURE_MATMUL_INT8
                ARM_FEATURE_FP16_VECTOR_ARITHMETIC ARM_FEATURE_SVE ARM_FEATURE_SME)
foreach(_pair IN LISTS _x86_sets _other_sets)
    string(REPLACE "=" ";" _pair "${_pair}")
    list(GET _pair 0 _set)
    list(GET _pair -1 _option)
    if(_macros MATCHES "#define __${_set}(__)? 1"
       OR (NOT GGML_NATIVE AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND GGML_${_option}))
        list(APPEND _instruction_sets ${_set})
    endif()
endforeach()
if(GGML_CPU_ALL_VARIANTS)
    set(_instruction_sets "")  # the one that fits is chosen at run time
endif()

# The options that differ from the engine's defaults. Those are whatever the first configure run
# found in the cache after it, and not before.
get_cmake_property(_cache_names CACHE_VARIABLES)
list(FILTER _cache_names INCLUDE REGEX "^(GGML|LLAMA|MTMD)_[A-Z0-9_]+$")
list(FILTER _cache_names EXCLUDE REGEX "_DIR$|^LLAMA_BUILD_(COMMIT|NUMBER)$|^LLAMA_CPP_PATCHES$")
if(NOT DEFINED CACHE{ENGINE_DEFAULTS})
    set(_defaults "")
    foreach(_name IN LISTS _cache_names)
        if(NOT _name IN_LIST NAMES_BEFORE_ENGINE)
            string(REPLACE ";" "," _value "$CACHE{${_name}}")
            list(APPEND _defaults "${_name}=${_value}")
        endif()
    endforeach()
    set(ENGINE_DEFAULTS "${_defaults}" CACHE INTERNAL "llama.cpp's options as it sets them")
endif()
set(_options "")
foreach(_name IN LISTS _cache_names)
    string(REPLACE ";" "," _value "$CACHE{${_name}}")
    if(NOT "${_name}=${_value}" IN_LIST ENGINE_DEFAULTS)
        list(APPEND _options ${_name})
    endif()
endforeach()

# string(JSON) escapes nothing, so quotes and backslashes of paths and flags are escaped here.
function(json_string text result)
    string(REPLACE "\\" "\\\\" _text "${text}")
    string(REPLACE "\"" "\\\"" _text "${_text}")
    set(${result} "\"${_text}\"" PARENT_SCOPE)
endfunction()
function(json_list result)
    set(_quoted "")
    foreach(_item IN LISTS ARGN)
        json_string("${_item}" _item)
        list(APPEND _quoted "${_item}")
    endforeach()
    list(JOIN _quoted ", " _joined)
    set(${result} "[${_joined}]" PARENT_SCOPE)
endfunction()

set(_json "{}")
function(put key value)
    string(JSON _json SET "${_json}" ${key} "${value}")
    set(_json "${_json}" PARENT_SCOPE)
endfunction()

get_directory_property(_engine_version DIRECTORY "${LLAMA_CPP_DIR}" DEFINITION LLAMA_VERSION)
string(STRIP "${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" _compiler)
foreach(_field "llama_cpp_commit=${LLAMA_CPP_COMMIT}" "llama_cpp_version=${_engine_version}"
               "build_type=${CMAKE_BUILD_TYPE}" "compiler=${_compiler}"
               "system=${CMAKE_SYSTEM_NAME} ${CMAKE_SYSTEM_PROCESSOR}")
    string(FIND "${_field}" "=" _split)
    string(SUBSTRING "${_field}" 0 ${_split} _key)
    math(EXPR _split "${_split} + 1")
    string(SUBSTRING "${_field}" ${_split} -1 _value)
    json_string("${_value}" _value)
    put(${_key} "${_value}")
endforeach()
json_list(_json_backends ${_backends})
put(backends "${_json_backends}")
json_list(_json_sets ${_instruction_sets})
put(instruction_sets "${_json_sets}")
json_list(_json_patches ${LLAMA_CPP_APPLIED_PATCHES})
put(patches "${_json_patches}")
json_list(_json_workarounds ${LLAMA_CPP_WORKAROUNDS})
put(workarounds "${_json_workarounds}")
put(options "{}")
foreach(_name IN LISTS _options)
    json_string("$CACHE{${_name}}" _value)
    string(JSON _json SET "${_json}" options ${_name} "${_value}")
endforeach()
file(CONFIGURE OUTPUT "${BUILD_INFO_FILE}" CONTENT "@_json@\n" @ONLY)

list(JOIN _backends " " _backends)
list(JOIN _instruction_sets " " _instruction_sets)
list(JOIN LLAMA_CPP_APPLIED_PATCHES " " _patches)
list(JOIN LLAMA_CPP_WORKAROUNDS " " _workarounds)
message(STATUS "llama.cpp:         ${LLAMA_CPP_COMMIT}")
message(STATUS "  sources:         ${LLAMA_CPP_DIR}")
message(STATUS "  compiler:        ${_compiler}, ${CMAKE_BUILD_TYPE}")
message(STATUS "  backends:        ${_backends}")
message(STATUS "  instruction sets: ${_instruction_sets}")
message(STATUS "  patches:         ${_patches}")
message(STATUS "  workarounds:     ${_workarounds}")
