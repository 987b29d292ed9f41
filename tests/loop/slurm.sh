#!/bin/sh
# A Slurm of one node, this machine, for the tests that submit jobs. As root, with Debian's slurm-wlm and munge:
#   sh tests/loop/slurm.sh start FOLDER    prints the line that lets Slurm's commands find it
#   sh tests/loop/slurm.sh stop FOLDER
set -eu

folder=$(mkdir -p "$2" && cd "$2" && pwd)
host=$(hostname -s)

if [ "$1" = stop ]; then
  for daemon in slurmd slurmctld; do
    if [ -f "$folder/$daemon.pid" ]; then kill "$(cat "$folder/$daemon.pid")" || true; fi
  done
  exit
fi

mkdir -p "$folder/state" "$folder/spool"
grep -qw "$host" /etc/hosts || echo "127.0.0.1 $host" >> /etc/hosts
cat > "$folder/slurm.conf" << END
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmctldPort=36817
SlurmdPort=36818
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000
PartitionName=tests Nodes=$host Default=YES
END

# The daemons let go of the output of this script, for which a caller may wait.
if ! munge -n 2> /dev/null | unmunge > /dev/null 2>&1; then
  mkdir -p /run/munge
  chown munge: /run/munge
  su -s /bin/sh munge -c munged > /dev/null 2>&1
fi
export SLURM_CONF="$folder/slurm.conf"
slurmctld > /dev/null 2>&1
slurmd > /dev/null 2>&1
for _ in 1 2 3 4 5 6 7 8 9 10; do
  if timeout 10 srun true 2> /dev/null; then
    echo "export SLURM_CONF=$SLURM_CONF"
    exit
  fi
  sleep 1
done
echo "Slurm does not answer; see the logs in $folder" >&2
exit 1
