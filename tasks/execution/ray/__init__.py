"""The runner `ray`: worker processes on all machines of a Ray cluster. Ray is imported only if the runner is used."""
