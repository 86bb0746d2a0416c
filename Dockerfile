# tempzero in a container, from a clone:
#   docker build -t tempzero . && docker run --rm -v "$PWD/results:/data/results" tempzero run
# Keys come in by name: `-e GROQ_API_KEY`. A providers.yaml of one's own: `-v "$PWD/providers.yaml:/data/providers.yaml:ro"`.
FROM python:3.13-slim
# llama.cpp's wheel needs libgomp1; answers that are code run in bubblewrap.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 bubblewrap && rm -rf /var/lib/apt/lists/*
COPY . /source
RUN pip install --no-cache-dir /source && rm -rf /source && useradd --create-home tempzero \
    && mkdir -p /data/results && chown -R tempzero /data
USER tempzero
WORKDIR /data
ENTRYPOINT ["tempzero"]
CMD ["--help"]
