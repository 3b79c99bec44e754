#!/bin/sh
# Creates four databases and four roles; each role can use only its own database. PostgreSQL runs
# this when its volume is new. A repeated run sets the roles' passwords to the present secrets.
set -eu
secrets=/run/secrets

for service in catalog orders logistics notifications; do
  psql --quiet --no-psqlrc --username "$POSTGRES_USER" --dbname postgres \
    --set ON_ERROR_STOP=1 --set service="$service" --set password="$(cat "$secrets/$service")" <<'SQL'
SET log_statement = 'none';  -- keeps the passwords out of the log
SET log_min_error_statement = 'panic';
SELECT format('CREATE ROLE %I', :'service')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'service') \gexec
SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT 60 PASSWORD %L',
              :'service', :'password') \gexec
-- Encoding and sort order do not depend on the server's defaults.
SELECT format('CREATE DATABASE %I OWNER %I TEMPLATE template0 ENCODING ''UTF8'' '
              'LC_COLLATE ''C'' LC_CTYPE ''C''', :'service', :'service')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'service') \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', :'service') \gexec
SQL
done

psql --quiet --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 <<'SQL'
REVOKE ALL ON DATABASE postgres FROM PUBLIC;
REVOKE ALL ON DATABASE template1 FROM PUBLIC;
SQL
