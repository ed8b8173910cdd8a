"""What the simulated venues say over websockets; each is named by its venue."""
