"""What compiling needs: the one jit, executables on disk, annotations that compilation does not see, the session."""
