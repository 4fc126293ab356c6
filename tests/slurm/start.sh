#!/usr/bin/env bash
# A real Slurm on this machine, for tests: munged, slurmctld and slurmd in the foreground of one folder.
#
#   start.sh install         install slurm-wlm and munge (Debian, Ubuntu; as root)
#   start.sh FOLDER          start, with configuration, keys, spools and logs in FOLDER; prints SLURM_CONF
#   start.sh stop FOLDER     stop what was started from FOLDER
set -euo pipefail

if [ "$1" = install ]; then
    command -v slurmctld munged >/dev/null && exit 0
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # Services are not started: packages would start them with a configuration of their own.
    apt-get install -y -qq --no-install-recommends slurm-wlm munge
    exit 0
fi

if [ "$1" = stop ]; then
    folder=$2
    for name in slurmd slurmctld munged; do
        if [ -s "$folder/$name.pid" ]; then kill "$(cat "$folder/$name.pid")" 2>/dev/null || true; fi
    done
    exit 0
fi

folder=$(realpath "$1")
host=$(hostname -s)
# The machine may have more, and other tests take their part.
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
mkdir -p "$folder"/{state,spool,logs}
chmod 755 "$folder"

dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 status=none
chmod 400 "$folder/munge.key"
# No two Slurms on one machine get in each other's way.
controller=$((20000 + RANDOM % 20000))
cat > "$folder/slurm.conf" <<CONF
ClusterName=hetdask
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller
SlurmdPort=$((controller + 1))
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/logs/slurmctld.log
SlurmdLogFile=$folder/logs/slurmd.log
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF

export SLURM_CONF=$folder/slurm.conf
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
    --log-file="$folder/logs/munged.log" --seed-file="$folder/munge.seed"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"

deadline=$((SECONDS + 60))
until sinfo --noheader --format=%T 2>/dev/null | grep -q idle; do
    if [ $SECONDS -ge $deadline ]; then
        tail -n 20 "$folder"/logs/*.log >&2
        exit 1
    fi
    sleep 0.2
done
echo "$SLURM_CONF"
