#!/bin/bash
# A real SLURM cluster of one node on loopback, to try docs/clusters.md on; the tests of the cluster start it.
#   bash tools/slurm_node.sh up FOLDER      as root, with Debian's slurm-wlm and munge installed
#   bash tools/slurm_node.sh down FOLDER    ends what `up` started, and nothing else
# No accounting, no cgroups, no systemd. Two GPUs are pretended, so that jobs can ask for one.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"
command=${1:-} folder=${2:-}
SITE=/etc/slurm/slurm.conf # jobs lose SLURM_CONF, and srun looks for the file here

stop() { echo "slurm_node: $1" >&2; exit 2; }

until_true() { # until_true SECONDS COMMAND...: waits for it
  local tries=$(($1 * 10))
  shift
  for ((i = 0; i < tries; i++)); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done
  return 1
}

is_idle() { [ "$(sinfo --noheader --format=%T)" = idle ]; }

has_ended() { ! kill -0 "$1"; }

configuration() {
  local host memory
  host=$(hostname -s)
  memory=$(awk '/^MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
  cat << END
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
MinJobAge=300
SlurmdTimeout=15
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$memory Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
}

up() {
  [ "$(id -u)" = 0 ] || stop "only root can start the daemons."
  for tool in slurmctld slurmd munged sbatch; do
    command -v $tool > /dev/null || stop "there is no $tool: apt-get install slurm-wlm munge."
  done
  [ ! -e $SITE ] || [ -L $SITE ] || stop "$SITE is there: this machine has a cluster already."
  mkdir -p "$folder"/{state,spool} /etc/slurm
  install -d -o munge -g munge -m 0755 /run/munge
  [ -f /etc/munge/munge.key ] || mungekey --create
  chown munge: /etc/munge/munge.key
  configuration > "$folder/slurm.conf"
  printf 'Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n' > "$folder/gres.conf"
  ln -sfn "$folder/slurm.conf" $SITE
  ln -sfn "$folder/gres.conf" /etc/slurm/gres.conf
  if ! munge --no-input > /dev/null 2>&1; then
    runuser -u munge -- munged
    cp /run/munge/munged.pid "$folder/munged.pid"
  fi
  until_true 10 munge --no-input || stop "munged does not answer; see /var/log/munge."
  slurmctld
  slurmd
  until_true 20 is_idle || stop "the node does not become idle; see $folder/slurmctld.log and slurmd.log."
}

down() {
  local process
  for name in slurmd slurmctld munged; do
    [ -f "$folder/$name.pid" ] || continue
    process=$(cat "$folder/$name.pid")
    kill "$process" 2> /dev/null || continue
    until_true 10 has_ended "$process" || kill -9 "$process"
  done
  rm -f "$folder"/*.pid
  for link in $SITE /etc/slurm/gres.conf; do
    [ "$(dirname "$(readlink "$link")")" != "$folder" ] || rm "$link"
  done
}

case $folder in
  /*) ;;
  *) stop "write: bash tools/slurm_node.sh up|down FOLDER, with the folder's whole path." ;;
esac
case $command in
  up | down) $command ;;
  *) stop "write up or down, not '$command'." ;;
esac
