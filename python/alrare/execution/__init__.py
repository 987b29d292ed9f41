"""Where the tasks of a campaign run: on this machine, on MPI ranks, or in jobs of a cluster."""
