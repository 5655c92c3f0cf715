# llama-server and llama-batched-bench of the same sources, with the same options but without our patches,
# which benchmarks/server.py and flash_attention.py compare with. They are no part of the package. Upstream
# builds a server only together with all of its tools, one of
# which is the web page; that page is not in our tree, and takes more than a compiler to build.
file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/no-ui/ui.h" [[
#pragma once
#include <string>
#include <vector>
struct llama_ui_asset {
    std::string name;
};
inline std::vector<llama_ui_asset> llama_ui_get_assets() { return {}; }
]])
add_library(llama-ui INTERFACE)
target_include_directories(llama-ui INTERFACE "${CMAKE_CURRENT_BINARY_DIR}/no-ui")
add_custom_target(llama-ui-assets)

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
add_subdirectory("${LLAMA_CPP_DIR}/tools/server" server EXCLUDE_FROM_ALL)
add_subdirectory("${LLAMA_CPP_DIR}/tools/batched-bench" batched-bench EXCLUDE_FROM_ALL)
