#!/usr/bin/env bash
# A real SLURM on this machine: slurmctld, accounting, and four nodes n1-n4 with two pretended GPUs each, on loopback.
#
#   cluster.sh up DIR         install what is missing (apt, as root), write DIR, start what does not run
#   cluster.sh crash DIR NODE kill -9 a node with all that runs on it; `up` brings it back
#   cluster.sh down DIR       stop all of it
#
# Clients find it by SLURM_CONF=DIR/etc/slurm.conf. It takes the first eight free ports from 17000 on.
set -euo pipefail
usage() { sed -n 's/^#   //p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
verb=$1 nodes=4
mkdir -p "$2"
state=$(cd "$2" && pwd -P)
export SLURM_CONF=$state/etc/slurm.conf PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin LC_ALL=C

fail() { echo "cluster.sh: $*" >&2; exit 1; }

install_packages() {
  declare -A package=([slurmctld]=slurmctld [slurmd]=slurmd [sbatch]=slurm-client [slurmdbd]=slurmdbd [munged]=munge
    [mariadbd]=mariadb-server-core [mariadb]=mariadb-client-core)
  local command missing=()
  for command in "${!package[@]}"; do command -v "$command" >/dev/null || missing+=("${package[$command]}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "no apt-get to install these packages with: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # at this runlevel no package starts a service of its own
  { apt-get update -qq && apt-get install -qq -y --no-install-recommends "${missing[@]}"; } >"$state/log/apt.log" 2>&1 ||
    { tail -n 20 "$state/log/apt.log" >&2; fail "these packages could not be installed: ${missing[*]}"; }
  for command in "${!package[@]}"; do command -v "$command" >/dev/null || fail "${package[$command]} has no $command"; done
}

taken() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

choose_port() { # that which this cluster has, or else the first of eight that are free
  local offset=0
  port=$(cat "$state/etc/port" 2>/dev/null || echo 17000)
  [ -s "$state/etc/port" ] && return
  while [ $offset -lt 8 ]; do
    if taken $((port + offset)); then port=$((port + 10)) offset=0; else offset=$((offset + 1)); fi
  done
  echo "$port" >"$state/etc/port"
}

configure() {
  umask 022
  mkdir -p "$state"/{etc,run,spool,ctld,dev}
  choose_port
  [ -s "$state/etc/munge.key" ] || head -c 1024 /dev/urandom >"$state/etc/munge.key"
  [ -s "$state/etc/password" ] || head -c 12 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$state/etc/password"
  chmod 600 "$state/etc/munge.key" "$state/etc/password"
  ln -sfn /dev/null "$state/dev/gpu0" # a GPU has to be a character device
  ln -sfn /dev/null "$state/dev/gpu1"
  local node unknown=()
  for node in $(seq -f n%g $nodes); do getent ahostsv4 "$node" | grep -q '^127[.]' || unknown+=("$node"); done
  [ ${#unknown[@]} = 0 ] || echo "127.0.0.1 ${unknown[*]} # weakloc's tests" >>/etc/hosts # ranks look for each other
  cat >"$SLURM_CONF" <<CONF
ClusterName=weakloc
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$((port + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$state/run/munge.socket,cred_expire=6
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$state/ctld
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$state/run/slurmctld.pid
SlurmdPidFile=$state/run/slurmd.%n.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,sched_min_interval=0,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
JobRequeue=1
KillWait=2
MinJobAge=600
MaxArraySize=5000
MessageTimeout=20
SlurmdTimeout=20
ReturnToService=2
SlurmdParameters=config_overrides
TreeWidth=$((nodes + 1))
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 2))
AccountingStoragePass=$state/run/munge.socket
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
GresTypes=gpu
NodeName=n[1-$nodes] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((port + 4))-$((port + 3 + nodes))] CPUs=8 CoresPerSocket=8 RealMemory=8000 Gres=gpu:pretended:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=100 PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=urgent Nodes=ALL MaxTime=INFINITE DefaultTime=10 DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF
CONF
  cat >"$state/etc/gres.conf" <<CONF
AutoDetect=off
NodeName=n[1-$nodes] Name=gpu Type=pretended File=$state/dev/gpu[0-1]
CONF
  echo "CgroupPlugin=cgroup/v1" >"$state/etc/cgroup.conf" # slurmd wants one; this does nothing until something uses it
  install -m 600 /dev/stdin "$state/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$state/run/munge.socket
CommunicationParameters=NoInAddrAny
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((port + 2))
SlurmUser=root
LogFile=$state/log/slurmdbd.log
PidFile=$state/run/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$((port + 3))
StorageUser=slurm
StoragePass=$(cat "$state/etc/password")
StorageLoc=slurm_acct_db
CONF
}

alive() { grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status"; } # one that ended may wait for ever to be reaped
runs() { [ -s "$state/run/$1.number" ] && alive "$(cat "$state/run/$1.number")"; }

start() { # NAME COMMAND...: in a session of its own, its number in run/NAME.number
  runs "$1" && return
  local name=$1
  shift
  setsid "$@" </dev/null >>"$state/log/$name.out" 2>&1 &
  echo $! >"$state/run/$name.number"
}

await() { # SECONDS NAME COMMAND...: until the command works
  local until=$((SECONDS + $1)) name=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt "$until" ] || { tail -n 5 "$state/log/$name"* >&2; fail "$name does not answer, see $state/log"; }
    sleep 0.1
  done
}

sql() { mariadb --no-defaults -S "$state/run/mariadbd.socket" -u root -e "$1"; }
idle() { [ "$(sinfo -h -N -p main -t idle,alloc,mix -o %N | sort -u | wc -l)" = $nodes ]; }

up() {
  [ "$(id -u)" = 0 ] || fail "not root, as whom alone SLURM's nodes can start jobs; nothing was installed or started"
  mkdir -p "$state/log"
  install_packages
  configure
  start munged munged --foreground --force --key-file="$state/etc/munge.key" --socket="$state/run/munge.socket" \
    --pid-file="$state/run/munged.pid" --log-file="$state/log/munged.log" --seed-file="$state/run/munged.seed"
  await 10 munged munge -n -S "$state/run/munge.socket"
  local quick=(--innodb-buffer-pool-size=64M --innodb-log-file-size=16M --innodb-flush-method=nosync --innodb-flush-log-at-trx-commit=0)
  [ -d "$state/mariadb/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$state/mariadb" \
    --auth-root-authentication-method=normal --skip-test-db "${quick[@]}" >"$state/log/mariadb-install.log" 2>&1
  start mariadbd mariadbd --no-defaults --user=root --datadir="$state/mariadb" --socket="$state/run/mariadbd.socket" \
    --pid-file="$state/run/mariadbd.pid" --bind-address=127.0.0.1 --port=$((port + 3)) --skip-log-bin \
    --innodb-lock-wait-timeout=900 --skip-name-resolve "${quick[@]}"
  await 30 mariadbd sql "select 1"
  sql "create database if not exists slurm_acct_db;
    create user if not exists slurm@'127.0.0.1' identified by '$(cat "$state/etc/password")';
    grant all on slurm_acct_db.* to slurm@'127.0.0.1';"
  start slurmdbd slurmdbd -D
  await 60 slurmdbd sacctmgr -n -i list cluster
  start slurmctld slurmctld -D
  await 30 slurmctld scontrol ping
  local node
  for node in $(seq -f n%g $nodes); do start "slurmd.$node" slurmd -D -N "$node"; done
  await 60 slurmd idle
}

crash() { # NODE: its slurmd, its step daemons, which outlive it, and what they started, all at once
  local process all children
  all=$(cat "$state/run/slurmd.$1.number")
  for process in /proc/[0-9]*; do
    case "$(tr '\0' ' ' 2>/dev/null <"$process/cmdline")" in
      slurmstepd*) ls -l "$process/fd" 2>/dev/null | grep -qE "$state/(log/slurmd\.$1\.log|spool/$1/)" && all+=" ${process#/proc/}" ;;
    esac
  done
  children=$all
  while [ -n "$children" ]; do
    children=$(for process in $children; do cat "/proc/$process/task/$process/children" 2>/dev/null || true; done)
    all+=" $children"
  done
  # shellcheck disable=SC2086
  kill -9 $all 2>/dev/null || true
  rm -f "$state/run/slurmd.$1.number"
}

down() {
  timeout 10 scancel -f -u root 2>/dev/null || true
  for _ in $(seq 50); do [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break; sleep 0.2; done
  local name process
  for name in slurmd.{n1,n2,n3,n4} slurmctld slurmdbd mariadbd munged; do
    runs "$name" || continue
    process=$(cat "$state/run/$name.number")
    tr '\0' ' ' <"/proc/$process/cmdline" | grep -q "${name%%.*}" || continue # the number is another's by now
    kill "$process"
    for _ in $(seq 100); do alive "$process" || break; sleep 0.1; done
    kill -9 "$process" 2>/dev/null || true
    rm -f "$state/run/$name.number"
  done
}

case $verb in
  up | down) "$verb" ;;
  crash) crash "${3:?which node}" ;;
  *) usage ;;
esac
