# One image per service, one for the pages, and one with the operator's command:
#
#   docker build --target service --build-arg SERVICE=orders -t farmgate-orders .
#   docker build --target pages -t farmgate-pages .
#   docker build --target operator -t farmgate-operator .
#
# docker-compose.yml builds all of them. They share every layer but their own code.

FROM python:3.11-slim-bookworm AS packages
# `otel` adds what exports traces, 10 MB.
ARG REQUIREMENTS=run
WORKDIR /src
COPY requirements/ requirements/
# setuptools makes the command and its version known, and goes again: no image can install anything.
RUN python -m venv /opt/farmgate \
 && sed -n '/^setuptools==/,/[^\\]$/p' requirements/dev.txt >/tmp/build.txt \
 && /opt/farmgate/bin/pip install --quiet --disable-pip-version-check --no-cache-dir \
      --require-hashes -r "requirements/$REQUIREMENTS.txt" -r /tmp/build.txt
COPY pyproject.toml README.md ./
RUN /opt/farmgate/bin/pip install --quiet --disable-pip-version-check --no-cache-dir \
      --no-deps --no-build-isolation . \
 && /opt/farmgate/bin/pip uninstall --quiet --yes setuptools pip \
 # Read-only containers cannot keep what Python compiles: a start would take twice as long. Without
 # the packages' docstrings (their names say -OO), which would be 5 MB of each process's memory.
 && /opt/farmgate/bin/python -OO -m compileall -q /opt/farmgate/lib \
 && find /opt/farmgate/lib -name '*.opt-2.pyc' -exec \
      sh -c 'for file; do mv "$file" "${file%.opt-2.pyc}.pyc"; done' compiled {} +

FROM python:3.11-slim-bookworm AS base
ARG VERSION=dev
LABEL org.opencontainers.image.title="Farmgate" \
      org.opencontainers.image.description="Many channels sell one stock" \
      org.opencontainers.image.version="${VERSION}"
# The base image's pip and setuptools: nothing is installed any more.
RUN find / -xdev -depth \( -path '*/site-packages/*' -o -path '*/dist-packages/*' \) -type d \
      \( -name 'pip' -o -name 'pip-*' -o -name 'setuptools*' -o -name 'wheel*' \) -exec rm -rf {} + \
 && rm -f /usr/bin/pip* /usr/local/bin/pip* \
 && useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin farmgate \
 && install -d -o farmgate -g farmgate /data
COPY --from=packages /opt/farmgate /opt/farmgate
COPY deploy/probe.py /opt/farmgate/bin/probe.py
# Two malloc arenas instead of eight per processor: threads come and go, and each would keep one.
ENV PATH=/opt/farmgate/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 FARMGATE_DATA=/data
WORKDIR /app
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-ISE", "/opt/farmgate/bin/probe.py", "8000", "/health/ready"]
ENTRYPOINT ["farmgate"]
CMD ["--help"]

# For what runs all the time: Python's own library compiled (public images have it as text only), and
# without docstrings, which take memory.
FROM base AS process
RUN library=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))') \
 && python -OO -m compileall -q -x '/(test|tests|idlelib|dist-packages|site-packages)/' "$library" \
 && find "$library" -name '*.opt-2.pyc' -exec \
      sh -c 'for file; do mv "$file" "${file%.opt-2.pyc}.pyc"; done' compiled {} +

FROM process AS pages
COPY shared/ shared/
COPY farmgate/ farmgate/
COPY web/ web/
RUN python -m compileall -q /app
LABEL org.opencontainers.image.title="Farmgate pages"
USER 10001:10001

FROM base AS operator
# pg_dump and pg_restore, of the server's version: farmgate backup and restore.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      postgresql-client-15 >/dev/null \
 && rm -rf /var/lib/apt/lists/*
COPY shared/ shared/
COPY services/ services/
COPY farmgate/ farmgate/
COPY demo/ demo/
COPY web/ web/
RUN python -m compileall -q /app
LABEL org.opencontainers.image.title="Farmgate operator's command"
HEALTHCHECK NONE
USER 10001:10001

# Last, since an engine without BuildKit makes every stage before the one that is asked for.
FROM process AS service
COPY shared/ shared/
# Of the command only what its processes run; the rest needs more than one service.
COPY farmgate/__init__.py farmgate/__main__.py farmgate/http_server.py farmgate/cli.py \
     farmgate/failures.py farmgate/groups.py farmgate/migrating.py farmgate/printing.py \
     farmgate/parameters.py farmgate/run_file.py farmgate/services.py \
     farmgate/web_workers.py farmgate/
COPY farmgate/commands/__init__.py farmgate/commands/migrate.py farmgate/commands/web.py \
     farmgate/commands/worker.py farmgate/commands/
ARG SERVICE
RUN test -n "$SERVICE" || { echo "Say which service: --build-arg SERVICE=orders"; exit 1; }
COPY services/__init__.py services/
COPY services/${SERVICE}/ services/${SERVICE}/
RUN python -m compileall -q /app
LABEL org.opencontainers.image.title="Farmgate ${SERVICE}"
USER 10001:10001
