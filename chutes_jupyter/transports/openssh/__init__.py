"""The `ssh` program as a transport: Linux and macOS, where it shares a connection by a socket."""
