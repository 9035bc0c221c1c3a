#!/bin/sh
# A Slurm of one node on this machine, with 2 CPUs, for as long as tests need it. As root, with slurm-wlm and munge.
# slurm_one_node.sh start FOLDER | stop FOLDER; SLURM_CONF=FOLDER/slurm.conf
set -eu
folder=$2
if [ "$1" = stop ]; then
    for file in d.pid ctld.pid munged.pid; do
        [ -s "$folder/$file" ] && kill "$(cat "$folder/$file")" 2>/dev/null || true
    done
    exit 0
fi
mkdir -p "$folder/state" "$folder/spool"
host=$(hostname -s)
(umask 077 && dd if=/dev/urandom of="$folder/munge.key" bs=1024 count=1 2>/dev/null)
munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
    --log-file="$folder/munged.log" --seed-file="$folder/munge.seed"
# cred_expire: how long a requeued job is kept waiting
cat >"$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host
SlurmctldPort=${SLURMCTLD_PORT:-6817}
SlurmdPort=${SLURMD_PORT:-6818}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/ctld.pid
SlurmdPidFile=$folder/d.pid
SlurmctldLogFile=$folder/ctld.log
SlurmdLogFile=$folder/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
ReturnToService=2
KillWait=20
NodeName=$host CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=p Nodes=$host Default=YES MaxTime=INFINITE State=UP OverTimeLimit=0
CONF
export SLURM_CONF="$folder/slurm.conf"
slurmctld
slurmd
for _ in $(seq 60); do
    sinfo --noheader --format=%T 2>/dev/null | grep -q idle && exit 0
    sleep 0.5
done
cat "$folder/ctld.log" "$folder/d.log" >&2
exit 1
