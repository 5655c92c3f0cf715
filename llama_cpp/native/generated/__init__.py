"""What ``tools/bindgen`` generates from the headers of llama.cpp. Do not edit."""
