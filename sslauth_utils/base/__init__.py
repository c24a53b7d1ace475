"""What everything else stands on: errors, paths, files, tensors on disk, devices, processes, fingerprints."""
