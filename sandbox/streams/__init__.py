"""Messages of the simulated venues over websockets; each file is named by its venue."""
