# The server in a container: docker build -t llama-cpp-python . ; then
#   docker run -p 8000:8000 -v $PWD/models:/models -e API_KEY=secret llama-cpp-python --model /models/m.gguf
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends build-essential \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
# The image may run on another processor than the one that built it: AVX2 and FMA, not more.
ARG CMAKE_ARGS="-DGGML_NATIVE=OFF"
RUN CMAKE_ARGS="$CMAKE_ARGS" pip install --no-cache-dir --prefix=/install ".[server]"

FROM python:3.12-slim
COPY --from=build /install /usr/local
RUN useradd --create-home llama
USER llama
ENV HOST=0.0.0.0 PORT=8000
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://localhost:8000/health')"]
# Without API_KEY it refuses to start, because others reach it.
ENTRYPOINT ["python", "-m", "llama_cpp.server"]
