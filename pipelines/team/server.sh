#!/usr/bin/env bash
# One registry for a team: PostgreSQL from Debian's packages, and an MLflow server on it with proxied artifacts and basic auth.
# The ledger has a database of its own in the same PostgreSQL.
#
#   pipelines/team/server.sh start FOLDER    everything lies in FOLDER; started again, it goes on with what is there
#   pipelines/team/server.sh stop FOLDER
#   pipelines/team/server.sh status FOLDER   exit 0 when both answer
#
# Settings, from the environment, taken when FOLDER is made and kept in FOLDER/settings:
#   VORTEX_TEAM_HOST       the name or address that both listen on       (127.0.0.1)
#   VORTEX_TEAM_PORT       of the MLflow server; PostgreSQL has the next (5000)
#   VORTEX_TEAM_ARTIFACTS  where artifacts go, a folder or s3://BUCKET/… (FOLDER/artifacts)
# Beside 127.0.0.1 put a proxy with TLS in front: basic auth and PostgreSQL's passwords are no protection on an open network.
set -euo pipefail

fail() { echo "error: $1" >&2; echo "hint: $2" >&2; exit 1; }

[ $# -eq 2 ] || fail "two words are asked for: start, stop or status, and a folder" "for example: $0 start /srv/vortex"
action=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
mlflow=$here/.venv/bin/mlflow
[ -x "$mlflow" ] || fail "$mlflow is not there" "make the environment with: make setup"
bin=$(dirname "$(ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | sort -V | tail -n 1)")
[ -x "$bin/postgres" ] || fail "PostgreSQL is not installed" "install it with: apt-get install postgresql"

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
# PostgreSQL refuses to run as root: then it runs as the user that Debian's package has made for it.
as_owner() { if [ "$(id -u)" -eq 0 ]; then (cd / && runuser -u postgres -- "$@"); else "$@"; fi; }
postgres_runs() { as_owner "$bin/pg_ctl" --pgdata="$folder/postgres" status >/dev/null 2>&1; }
# After a restart of the machine the number may be that of any other process.
mlflow_runs() { [ -f "$folder/mlflow.pid" ] && grep -qa basic-auth "/proc/$(cat "$folder/mlflow.pid")/cmdline" 2>/dev/null; }
answers() { "$here/.venv/bin/python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "http://$HOST:$PORT/health" 2>/dev/null; }
sql() { PGPASSWORD=$SUPERUSER as_owner "$bin/psql" --host="$HOST" --port="$DATABASE_PORT" --username=postgres --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"; }

make_settings() {
  umask 077
  local port=${VORTEX_TEAM_PORT:-5000}
  [[ $port =~ ^[1-9][0-9]{0,4}$ && $port -lt 65535 ]] || fail "VORTEX_TEAM_PORT is $port, allowed: 1 to 65534" "leave it out for 5000"
  [[ ${VORTEX_TEAM_HOST:-127.0.0.1} =~ ^[A-Za-z0-9.-]+$ && ${VORTEX_TEAM_HOST:-} != 0.0.0.0 ]] ||
    fail "VORTEX_TEAM_HOST is $VORTEX_TEAM_HOST, allowed: the name or address under which this machine is reached" "leave it out for 127.0.0.1"
  cat > "$folder/settings.new" <<SETTINGS
HOST=${VORTEX_TEAM_HOST:-127.0.0.1}
PORT=$port
DATABASE_PORT=$((port + 1))
ARTIFACTS=$(printf %q "${VORTEX_TEAM_ARTIFACTS:-$folder/artifacts}")
SUPERUSER=$(secret)
DATABASE=$(secret)
ADMIN=$(secret)
FLASK=$(secret)
SETTINGS
  mv "$folder/settings.new" "$folder/settings"
}

make_cluster() {
  # Made beside and renamed: one that was cut short is made anew.
  rm -rf "$folder/postgres.new"
  mkdir -m 700 "$folder/postgres.new"
  local password
  password=$(mktemp)
  printf %s "$SUPERUSER" > "$password"
  if [ "$(id -u)" -eq 0 ]; then chown postgres "$folder/postgres.new" "$password"; fi
  as_owner "$bin/initdb" --auth=scram-sha-256 --pwfile="$password" --encoding=UTF8 --locale=C.UTF-8 --pgdata="$folder/postgres.new" >/dev/null
  rm "$password"
  # By itself PostgreSQL knows connections from this machine alone. Where it listens says who can reach it, and all need a password.
  echo 'host all all all scram-sha-256' >> "$folder/postgres.new/pg_hba.conf"
  mv "$folder/postgres.new" "$folder/postgres"
}

make_databases() {
  # The password goes in by the standard input: what stands in a command line can be read by every user of the machine.
  if [ -z "$(echo "SELECT 1 FROM pg_roles WHERE rolname = 'vortex'" | sql)" ]; then
    echo "CREATE ROLE vortex LOGIN PASSWORD '$DATABASE'" | sql
  fi
  local name
  for name in mlflow mlflow_auth vortex; do
    if [ -z "$(echo "SELECT 1 FROM pg_database WHERE datname = '$name'" | sql)" ]; then
      echo "CREATE DATABASE $name OWNER vortex" | sql
    fi
  done
}

start_mlflow() {
  local databases=postgresql+psycopg://vortex:$DATABASE@$HOST:$DATABASE_PORT
  printf '[mlflow]\ndefault_permission = EDIT\ndatabase_uri = %s/mlflow_auth\nadmin_username = admin\nadmin_password = %s\nauthorization_function = mlflow.server.auth:authenticate_request_basic_auth\n' \
    "$databases" "$ADMIN" > "$folder/auth.ini"
  # By itself it starts fifteen processes; no job of its own is used here.
  MLFLOW_BACKEND_STORE_URI=$databases/mlflow MLFLOW_AUTH_CONFIG_PATH=$folder/auth.ini MLFLOW_FLASK_SERVER_SECRET_KEY=$FLASK \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true \
    setsid "$mlflow" server --app-name basic-auth --workers 1 --serve-artifacts --artifacts-destination "$ARTIFACTS" \
    --host "$HOST" --port "$PORT" --allowed-hosts "$HOST,$HOST:$PORT" > "$folder/mlflow.log" 2>&1 < /dev/null &
  echo $! > "$folder/mlflow.pid"
  for _ in $(seq 120); do
    if answers; then return; fi
    mlflow_runs || break
    sleep 1
  done
  tail -n 5 "$folder/mlflow.log" >&2
  stop
  fail "the MLflow server does not answer at http://$HOST:$PORT" "its words are above and in $folder/mlflow.log"
}

start() {
  [ -f "$folder/settings" ] || make_settings
  umask 077
  # shellcheck disable=SC1091
  . "$folder/settings"
  [ -d "$folder/postgres" ] || make_cluster
  postgres_runs || as_owner "$bin/pg_ctl" --wait --pgdata="$folder/postgres" --log="$folder/postgres/server.log" \
    --options="-p $DATABASE_PORT -c listen_addresses=$HOST -c unix_socket_directories=''" start >/dev/null ||
    fail "PostgreSQL does not start" "its words are in $folder/postgres/server.log"
  make_databases
  mlflow_runs && answers || start_mlflow
  cat <<WORDS
In the vortex.toml of every workspace of the team:
  tracking_uri = "http://$HOST:$PORT"
  artifact_root = "mlflow-artifacts:/vortex"
  ledger = "postgresql+psycopg://vortex:\${VORTEX_LEDGER_PASSWORD}@$HOST:$DATABASE_PORT/vortex"
and in the environment of who works there: MLFLOW_TRACKING_USERNAME=admin, MLFLOW_TRACKING_PASSWORD and VORTEX_LEDGER_PASSWORD,
which are ADMIN and DATABASE in $folder/settings
WORDS
}

stop() {
  # A process group of its own, so that its workers end with it.
  if mlflow_runs; then kill -TERM -- "-$(cat "$folder/mlflow.pid")" 2>/dev/null || true; fi
  rm -f "$folder/mlflow.pid"
  if postgres_runs; then as_owner "$bin/pg_ctl" --wait --mode=fast --pgdata="$folder/postgres" stop >/dev/null; fi
}

status() {
  [ -f "$folder/settings" ] || fail "$folder holds no server" "start one with: $0 start $folder"
  # shellcheck disable=SC1091
  . "$folder/settings"
  postgres_runs || fail "PostgreSQL does not run" "start it with: $0 start $folder"
  answers || fail "the MLflow server does not answer at http://$HOST:$PORT" "start it with: $0 start $folder"
  echo "both answer: MLflow at http://$HOST:$PORT, PostgreSQL at $HOST:$DATABASE_PORT"
}

case $action in
  start) mkdir -p "$2" && chmod 711 "$2" ;;
  stop | status) [ -d "$2" ] || fail "$2 is no folder" "name the one that was started" ;;
  *) fail "unknown word $action, allowed: start, stop, status" "for example: $0 start /srv/vortex" ;;
esac
folder=$(cd "$2" && pwd)
$action
