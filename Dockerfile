# The service in a container, built from a clone: docker build -t cofactor .
FROM python:3.13-slim AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY CMakeLists.txt pyproject.toml README.md LICENSE ./
COPY native native
COPY src src
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[serve,postgres]'

FROM python:3.13-slim
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels 'cofactor[serve,postgres]' \
 && rm -rf /wheels \
 && useradd --system --uid 10001 --create-home cofactor \
 && install --directory --owner cofactor /data
USER cofactor
WORKDIR /home/cofactor
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
# Models are mounted at /models; what is stored goes to /data.
ENTRYPOINT ["cofactor", "serve", "--host", "0.0.0.0"]
CMD ["/models/model"]
