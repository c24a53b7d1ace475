"""What a headless run tells the notebook in its process, by environment variables."""

RUN_DIR = "SSLAUTH_RUN_DIR"  # the folder into which its rows go
FINGERPRINT = "SSLAUTH_FINGERPRINT"  # hash of all that its rows depend on (`engine.plan`)
USED = "artifacts.jsonl"  # in that folder: the artifacts that it asked the store for, one a line
PEAK = "peak_memory_kb"  # in that folder: the largest resident memory of the notebook's process so far
