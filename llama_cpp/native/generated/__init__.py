"""What ``tools/bindgen`` generates from the headers of llama.cpp. Do not edit."""

LLAMA_CPP_COMMIT = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"
